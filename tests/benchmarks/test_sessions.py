"""The figures of ended sessions are measured from end to end, and the page is written from what was measured."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.__main__ import COMPARED, RESULTS, others
from benchmarks.native import missing_compiler
from benchmarks.report import Run, markdown
from benchmarks.sessions import (
    ACROSS,
    ALL,
    ONE,
    SOME,
    credentials,
    handshake_costs,
    identity_service,
    logouts,
    running_backend,
)
from benchmarks.sessions_report import Sessions, Spread

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
FIGURES = Sessions(
    closes={ACROSS: {ONE: [Spread(0.002, 0.003, 0.004, 20), Spread(0.004, 0.005, 0.006, 20)]}},
    costs={"none": {"cached": [1e-3], "fresh": [2e-3]}, "JWT cookie": {"cached": [2e-3], "fresh": [3e-3]}},
    connections=9000,
    handshakes=100,
    rounds=2,
    machine={"cores": "2"},
    seconds=60.0,
)


async def test_a_round_measures_log_outs_and_handshakes(tmp_path: Path) -> None:
    if missing := missing_compiler():
        assert os.environ.get("CI") != "true", missing
        pytest.skip(missing)
    with running_backend(tmp_path) as backend:
        found = await logouts(backend, ACROSS, 2 * SOME)
        assert found[ONE].count == found[ALL].count == SOME
        async with identity_service() as service:
            costs = await handshake_costs(backend, credentials(service)[-1], 3)
    assert 0 < found[ALL].p50 <= found[ALL].p99 <= found[ALL].slowest
    assert all(cost > 0 for cost in costs.values())


def test_the_page_says_it() -> None:
    found = Sessions.from_json(FIGURES.to_json())
    assert found == FIGURES
    run = Run.from_json((RESULTS / COMPARED).read_text())
    page = markdown(run, found)
    assert page.startswith(markdown(run).rstrip())
    assert "| the other of two guards, over Redis | one | 3.0 | 4.0 | 5.0 | 20 |" in page
    assert "| JWT cookie | 2000 | 2.00 | 3000 | 1.50 |" in page


def test_the_published_page_is_what_the_published_figures_make() -> None:
    run = Run.from_json((RESULTS / COMPARED).read_text())
    assert PAGE.read_text() == markdown(run, *others(RESULTS))
