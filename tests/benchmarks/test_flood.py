"""Stalled handshakes slow nobody down: a small flood here, the figures come of `python -m benchmarks flood`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.__main__ import COMPARED, RESULTS
from benchmarks.flood import flood
from benchmarks.flood_report import Calm, Flood
from benchmarks.native import missing_compiler
from benchmarks.report import Run, markdown
from benchmarks.sessions import running_backend

CALM = Calm([0.001] * 99 + [0.004], 0, 0.0, 0.1, 0.2, 0.0)
FOUND = Flood(10_000, CALM, Calm([0.002] * 99 + [0.006], 1, 998.0, 0.2, 0.2, 0.3), {"cores": "2"})


async def test_a_small_flood_is_hardly_noticed(tmp_path: Path) -> None:
    """An order of magnitude of room: others use this machine too."""
    if missing := missing_compiler():
        assert os.environ.get("CI") != "true", missing
        pytest.skip(missing)
    mine = os.sched_getaffinity(0)
    try:
        with running_backend(tmp_path) as backend:
            found = await flood(backend, 1000, 2.0, {})
    finally:
        os.sched_setaffinity(0, mine)
    assert found.before.failed == found.during.failed == 0
    assert len(found.during.latencies) > 10
    assert found.during.percentile(0.99) < max(20 * found.before.percentile(0.99), 0.5)


def test_the_page_says_it() -> None:
    found = Flood.from_json(FOUND.to_json())
    assert found == FOUND
    page = markdown(Run.from_json((RESULTS / COMPARED).read_text()), flood=found)
    assert "| with | 2.0 ms | 6.0 ms | 100 | 1 | 998 | 0.20 | 0.20 | 0.30 |" in page
    assert "The p99 with the flood is 1.50 of that without; set out for: 2; met: yes." in page
