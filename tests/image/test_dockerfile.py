"""What can be said of the Dockerfile without building it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"
FINAL = DOCKERFILE.read_text("utf-8").rpartition("\nFROM ")[2]
LOCKS = ["requirements.lock", "requirements-extras.lock", "requirements-build.lock"]


def pins(lock: str) -> dict[str, str]:
    """Name and version of everything in a lock file."""
    return dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / lock).read_text("utf-8"), re.MULTILINE))


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_final_stage_runs_nothing_and_ends_as_a_numeric_user() -> None:
    assert not re.search(r"^(RUN|SHELL)\b", FINAL, re.MULTILINE)
    assert re.findall(r"^USER (.*)$", FINAL, re.MULTILINE) == ["65532:65532"]


@pytest.mark.parametrize("instruction", ["ENTRYPOINT", "CMD"])
def test_no_shell_stands_between(instruction: str) -> None:
    (found,) = re.findall(rf"^{instruction} (.*)$", FINAL, re.MULTILINE)
    assert all(isinstance(word, str) for word in json.loads(found))


@pytest.mark.parametrize("lock", LOCKS)
def test_what_is_installed_is_what_was_tested(lock: str) -> None:
    tested = pins("requirements-dev.lock")
    assert pins(lock)
    assert {name: version for name, version in pins(lock).items() if tested.get(name) != version} == {}


def test_the_build_tools_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["dependency-groups"]["build"] == project["build-system"]["requires"]


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-extras.lock"])
def test_the_locks_name_what_the_project_needs(lock: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = list(project["dependencies"])
    if "extras" in lock:
        needed += [one for extra in project["optional-dependencies"].values() for one in extra]
    assert {re.split(r"[^\w.-]", each)[0] for each in needed} <= pins(lock).keys()
