"""Builds the image without a daemon and without a registry, and starts programs in it on a read-only root.

The base is a Debian of the same release and Python as the one that the Dockerfile names, put together from packages; it
stands in for it as far as the guard can tell: an interpreter, its standard library and certificates.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.programs import ROOT, need

BASE = "localhost/python-stand-in"
IMAGE = "localhost/wsguard"
USER = 65532
_RELEASE = "trixie"
_OF_PIP = ("/etc/ssl/certs", "/etc/pip.conf")  # what pip on this machine may need to reach its index


class Builder:
    """Images in `folder`, which needs root, and some 600 MB."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._buildah = need("buildah")
        self._env = {**os.environ, "BUILDAH_ISOLATION": "chroot"}

    def base(self) -> None:
        """The stand-in for python:slim."""
        archive = self._folder / "base.tar"
        packages = "--include=python3,python3-venv,ca-certificates"
        _run([need("mmdebstrap"), "--variant=minbase", packages, "--components=main", _RELEASE, str(archive)])
        (self._folder / "Dockerfile").write_text(f"FROM scratch\nADD {archive.name} /\n")
        self("bud", "--tag", BASE, str(self._folder))
        archive.unlink()

    def build(self, image: str = IMAGE, *arguments: str) -> None:
        """The guard's image, from the Dockerfile as it is, with further arguments of the build."""
        mounts = [f"--volume={path}:{path}:ro" for path in _OF_PIP if os.path.exists(path)]
        self("bud", "--pull-never", f"--build-arg=PYTHON={BASE}", *arguments, *mounts, "--tag", image, str(ROOT))

    def config(self) -> dict[str, Any]:
        """What the image says of itself: User, Entrypoint, Env…"""
        inspected = json.loads(self("inspect", "--type", "image", IMAGE))
        config: dict[str, Any] = inspected["OCIv1"]["config"]
        return config

    @contextmanager
    def root(self, image: str = IMAGE) -> Iterator[Path]:
        """The image's files, mounted read-only; only /tmp can be written to, as in the pod that the charts make."""
        container = self("from", "--pull-never", image)
        there = self._folder / container
        there.mkdir()
        try:
            _run(["mount", "--bind", self("mount", container), str(there)])
            _run(["mount", "-o", "remount,bind,ro", str(there)])
            _run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=1777", "tmpfs", str(there / "tmp")])
            yield there
        finally:
            for mounted in (there / "tmp", there):
                subprocess.run(["umount", str(mounted)], check=False)
            self("umount", container)
            self("rm", container)

    def __call__(self, command: str, *arguments: str) -> str:
        """Run buildah; what it prints."""
        store = ["--root", str(self._folder / "store"), "--runroot", str(self._folder / "run")]
        return _run([self._buildah, *store, "--storage-driver=overlay", command, *arguments], self._env)


def inside(root: Path, config: dict[str, Any], *arguments: str) -> list[str]:
    """The command line that runs the image's entry point, as its user and with its environment alone."""
    program = ["chroot", f"--userspec={USER}:{USER}", str(root), "/usr/bin/env", "-i", *config["Env"]]
    return [*program, *config["Entrypoint"], *arguments]


def _run(command: list[str], env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, f"{command}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout.strip()
