"""A mounted ConfigMap or Secret, written as Kubernetes' kubelet writes it: every update is one swap of a link."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from itertools import count
from pathlib import Path

_numbers = count(1)


class Volume:
    """The folder `path`, in which each file is a link through `..data` into a folder with a time in its name."""

    def __init__(self, path: Path, files: Mapping[str, str | bytes]) -> None:
        self.path = path
        path.mkdir()
        self.swap(files)

    def swap(self, files: Mapping[str, str | bytes]) -> None:
        """Put `files` in place of all that was there, as one step."""
        old = self.path / "..data"
        previous = old.resolve() if old.is_symlink() else None
        payload = self.path / f"..2024_01_01_00_00_00.{next(_numbers)}"
        payload.mkdir()
        for name, content in files.items():
            (payload / name).write_bytes(content.encode() if isinstance(content, str) else content)
        fresh = self.path / "..data_tmp"
        fresh.symlink_to(payload.name)
        fresh.rename(old)
        for name in files:
            link = self.path / name
            if not link.is_symlink():
                link.symlink_to(Path("..data") / name)
        for link in self.path.iterdir():
            if not link.name.startswith("..") and link.name not in files:
                link.unlink()
        if previous is not None:
            shutil.rmtree(previous)
