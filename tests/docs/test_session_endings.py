"""docs/session-endings.md names fields that a policy has and tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/session-endings.md").read_text("utf-8")


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(tests/[a-z_/]+\.py::test_\w+)`", PAGE))))
def test_what_shows_an_ending_is_a_test(name: str) -> None:
    file, _, function = name.partition("::")
    assert re.search(rf"^(async )?def {function}\(", (ROOT / file).read_text("utf-8"), re.MULTILINE)


def test_every_ending_has_a_cell_for_every_kind_of_application() -> None:
    rows = re.findall(r"^\| (\d+)\. (.*) \|$", PAGE, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, len(rows) + 1))
    assert {len(row.split(" | ")) for _, row in rows} == {6}


@pytest.mark.parametrize("field", sorted(set(re.findall(r"`(?:session|sessionEvents|forwardAuth)\.(\w+)", PAGE))))
def test_what_hears_it_is_a_field(field: str) -> None:
    policies = (ROOT / "docs/policies.md").read_text("utf-8")
    assert re.search(rf"^\| `{field}` \|", policies, re.MULTILINE)
