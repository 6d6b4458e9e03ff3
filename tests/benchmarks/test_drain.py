"""A drain is measured from end to end, and the page says what was found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.__main__ import COMPARED, RESULTS
from benchmarks.drain import drain
from benchmarks.drain_report import Drain, Drains, draw
from benchmarks.native import missing_compiler
from benchmarks.report import Run, markdown
from benchmarks.sessions import running_backend

FOUND = Drains([Drain(4.0, 40, [12, 10, 9, 9], [5, 10, 10, 10, 5], exit=4.1, cpu=0.02)], {"cores": "2"})


async def test_a_drain_is_measured(tmp_path: Path) -> None:
    if missing := missing_compiler():
        assert os.environ.get("CI") != "true", missing
        pytest.skip(missing)
    with running_backend(tmp_path) as backend:
        found = await drain(backend, 30, 1.0)
    assert (found.told, sum(found.returns)) == (30, 30)
    assert 0.5 < found.exit < 10.0
    assert found.cpu > 0


def test_the_page_and_the_picture_say_it(tmp_path: Path) -> None:
    found = Drains.from_json(FOUND.to_json())
    assert found == FOUND
    run = Run.from_json((RESULTS / COMPARED).read_text())
    row = "| 40 over 4 s | 12 | 1.20 | 10 | 1.25 | 4.1 s | 0.0 s | 500 µs |"
    assert row in markdown(run, None, found)
    draw(found, tmp_path / "drain.svg")
    assert (tmp_path / "drain.svg").read_text().count("40 connections over 4 s") >= 1
