"""Every locked dependency has a wheel for the machines that images are built for."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = re.search(r"^ARG PYTHON=.*:([\d.]+)-", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)

pytestmark = [pytest.mark.extended, pytest.mark.timeout(600)]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-extras.lock", "requirements-build.lock"])
def test_each_is_there_as_a_wheel(lock: str, machine: str, tmp_path: Path) -> None:
    assert PYTHON is not None
    platforms = [f"--platform=manylinux_{glibc}_{machine}" for glibc in ("2_17", "2_28", "2_34")]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    wanted = ["--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON[1]}", *platforms]
    done = subprocess.run(
        [
            *command,
            *wanted,
            f"--platform=manylinux2014_{machine}",
            f"--dest={tmp_path}",
            f"--requirement={ROOT / lock}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert all(path.suffix == ".whl" for path in tmp_path.iterdir())
