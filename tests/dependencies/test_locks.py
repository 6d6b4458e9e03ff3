"""The lock files: what is installed is what was resolved, from wherever it comes, and nobody joins unasked.

This is the half of the audit of dependencies that needs no network; `test_audit.py` is the other.
"""

from __future__ import annotations

import json
import re
import tomllib
from importlib.metadata import metadata, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted(ROOT.glob("requirements*.lock"))
NPM_LOCKS = sorted(ROOT.glob("tests/npm*/package-lock.json"))
PERMISSIVE = re.compile(r"Apache|MIT|BSD|PSF|Python Software Foundation|ISC")


def locked(lock: Path) -> dict[str, str]:
    """The entries of a lock file by their normalised name."""
    entries = re.split(r"\n(?=\S)", lock.read_text("utf-8").strip())
    return {_normal(re.split(r"[=\[ ]", entry)[0]): entry for entry in entries}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _names(requirements: list[str]) -> set[str]:
    """The distributions that these requirements ask for, unless for an extra."""
    wanted = (requirement for requirement in requirements if "extra ==" not in requirement)
    return {_normal(re.split(r"[^A-Za-z0-9_.-]", requirement)[0]) for requirement in wanted}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.name))
def test_each_entry_is_one_version_with_its_hashes_and_no_address(lock: Path) -> None:
    assert locked(lock)
    for name, entry in locked(lock).items():
        assert re.match(r"[\w.-]+==[\w.+!]+( ;|\s|$)", entry), entry[:80]
        assert "--hash=sha256:" in entry, name
        assert "://" not in entry, name


@pytest.mark.parametrize("lock", NPM_LOCKS, ids=lambda lock: str(lock.parent.name))
def test_the_same_of_npm(lock: Path) -> None:
    packages = json.loads(lock.read_text("utf-8"))["packages"]
    for name, package in packages.items():
        if name and not package.get("link") and not package.get("inBundle"):  # else it is inside another's archive
            assert package.get("integrity", "").startswith("sha512-"), name
            assert "resolved" not in package, name


def test_what_runs_the_guard_is_what_its_dependencies_ask_for_and_no_more() -> None:
    entries = locked(ROOT / "requirements.lock")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    reached: set[str] = set()
    ahead = _names(project["dependencies"])
    while ahead:
        name = ahead.pop()
        if name in entries and name not in reached:
            reached.add(name)
            ahead |= _names(requires(name) or []) | {"cryptography"}  # pyjwt's extra
    assert set(entries) - reached <= {"async-timeout"}, "it is for older interpreters than the one of these tests"


@pytest.mark.parametrize("name", sorted(locked(ROOT / "requirements.lock")))
def test_what_runs_the_guard_may_be_given_away(name: str) -> None:
    if name == "async-timeout":
        return  # not installed here: for older interpreters
    about = metadata(name)
    said = [text for field in ("License-Expression", "License", "Classifier") for text in about.get_all(field, [])]
    assert any(PERMISSIVE.search(text) for text in said), said
