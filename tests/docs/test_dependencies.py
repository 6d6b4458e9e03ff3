"""docs/dependencies.md gives a reason for each dependency there is, and for no other."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from tests.support.provision import PROGRAMS

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def rows(heading: str) -> list[str]:
    """The first cells of the table under the heading that begins with `heading`, in order."""
    sections = (ROOT / "docs/dependencies.md").read_text("utf-8").split("\n## ")
    (section,) = [text for text in sections if text.startswith(heading)]
    cells = re.findall(r"^\| ([^|]+?) \|.*\|.*\|$", section, re.MULTILINE)
    return cells[1:]


def names(requirements: list[str]) -> list[str]:
    """The distributions' names, without extras, versions and markers."""
    return [re.split(r"[^A-Za-z0-9_.-]", requirement)[0] for requirement in requirements]


@pytest.mark.parametrize(
    ("heading", "declared"),
    [
        ("To run", names(PROJECT["project"]["dependencies"])),
        ("On request", [n for extra in PROJECT["project"]["optional-dependencies"].values() for n in names(extra)]),
        ("To develop", names(PROJECT["dependency-groups"]["dev"] + PROJECT["dependency-groups"]["audit"])),
        (
            "For the image",
            [
                *names(PROJECT["dependency-groups"]["build"] + PROJECT["dependency-groups"]["helm"]),
                *(program.packages for program in PROGRAMS["extended"] if program not in PROGRAMS["test"]),
                *(program.packages for program in PROGRAMS["test"] if program.command == "promtool"),
            ],
        ),
        (
            "For the gallery",
            [
                *names(PROJECT["dependency-groups"]["jupyter"]),
                *(program.packages for program in PROGRAMS["test"] if program.why.startswith("the gallery")),
                *json.loads((ROOT / "tests/npm-extended/package.json").read_text("utf-8"))["dependencies"],
            ],
        ),
        ("Clients", list(json.loads((ROOT / "tests/npm/package.json").read_text("utf-8"))["dependencies"])),
    ],
)
def test_every_dependency_has_its_line_in_order(heading: str, declared: list[str]) -> None:
    assert rows(heading) == sorted(declared)
