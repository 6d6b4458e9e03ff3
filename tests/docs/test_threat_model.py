"""THREAT_MODEL.md: each row names tests, and they exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "THREAT_MODEL.md").read_text("utf-8")
SHOWN = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", TEXT)))
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ") and line.count(" | ") == 2]


def test_every_threat_names_the_test_that_shows_what_stops_it() -> None:
    threats = [row for row in ROWS if "shown by" not in row and "is believed" not in row]
    threats = threats[threats.index(next(row for row in threats if "foreign page opens" in row)) :]
    assert len(threats) > 25
    assert [row for row in threats if "`tests/" not in row] == []


@pytest.mark.parametrize(("file", "test"), SHOWN, ids=str)
def test_the_test_exists(file: str, test: str) -> None:
    assert re.search(rf"^(async )?def {test}\(", (ROOT / file).read_text("utf-8"), re.MULTILINE), f"{file}::{test}"
