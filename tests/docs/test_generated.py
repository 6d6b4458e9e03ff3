"""What the documents take from the code is what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.generate import DOCS, PARTS, refreshed


@pytest.mark.parametrize("path", sorted(DOCS.glob("**/*.md")), ids=lambda path: path.name)
def test_no_generated_part_is_stale(path: Path) -> None:
    assert refreshed(path.read_text()) == path.read_text(), "run `make docs`"


def test_every_part_stands_somewhere() -> None:
    written = "".join(path.read_text() for path in DOCS.glob("**/*.md"))
    assert all(f"<!-- generated: {name} -->" in written for name in PARTS)
