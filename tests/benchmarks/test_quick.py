"""The benchmarks work from end to end: one short round for each proxy that is installed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.__main__ import measure, write
from benchmarks.native import missing_compiler
from benchmarks.peers import PEERS
from benchmarks.report import markdown
from benchmarks.workloads import BUSY, NO_PROXY, SHAKERS, SIZES, WINDOWS, Effort

TINY = Effort(rounds=1, turns=1, relay=0.02, handshake=0.05, latency=0.1, rotate=0.02, idle=0.0, open=(BUSY, 40))


def _needs(missing: str | None) -> None:
    """Skip, saying what is not installed; where nothing may be left out, fail."""
    if missing and os.environ.get("CI") == "true":
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)


@pytest.mark.parametrize("name", PEERS)
def test_one_round_measures_everything(name: str, tmp_path: Path) -> None:
    _needs(missing_compiler())
    _needs(PEERS[name].missing())

    run = measure((PEERS[name],), TINY)

    workloads = {f"relay/{size}/{window}" for size in SIZES for window in WINDOWS}
    workloads |= {f"open/{kind}/{number}" for kind in ("idle", "busy") for number in TINY.open}
    workloads |= {f"handshake/{shakers}" for shakers in SHAKERS} | {"memory", "latency/p50", "latency/p99"}
    assert set(run.figures) == workloads
    assert all(run.figures[workload][name] for workload in workloads)
    assert all(value > 0 for work in workloads - {"memory"} for value in run.figures[work][name])
    assert run.value("latency/p50", NO_PROXY)
    write(run, tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"performance.md", "performance.svg", "latest.json"}
    assert name in markdown(run)
