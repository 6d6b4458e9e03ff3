"""docs/comparison.md: its figures are those of docs/performance.md, and each peer's row says where it is from."""

from __future__ import annotations

import json
import re
from statistics import median

import pytest

from tests.support.programs import ROOT

TEXT = " ".join((ROOT / "docs/comparison.md").read_text("utf-8").split())
FIGURES = json.loads((ROOT / "benchmarks/results/latest.json").read_text("utf-8"))["figures"]


def cost(workload: str, peer: str = "wsguard") -> float:
    """The median, as docs/performance.md has it."""
    return float(median(FIGURES[workload][peer]))


def between(workloads: tuple[str, str], peer: str) -> list[float]:
    """How many times the peer's cost, the lesser first."""
    return sorted(cost(workload) / cost(workload, peer) for workload in workloads)


@pytest.mark.parametrize(
    ("pattern", "workloads", "peer"),
    [
        (r"(\S+) to (\S+) times nginx,", ("handshake/1", "handshake/16"), "nginx"),
        (r"(\S+) to (\S+) times HAProxy,", ("handshake/1", "handshake/16"), "HAProxy"),
        (r"(\S+) to (\S+) times Envoy,", ("handshake/1", "handshake/16"), "Envoy"),
        (r"costs (\S+) to (\S+) times what it costs nginx", ("relay/64/1", "relay/64/16"), "nginx"),
        (r"At 16 KiB it is (\S+) to (\S+) times nginx", ("relay/16384/1", "relay/16384/16"), "nginx"),
        (r"at 256 KiB (\S+) to (\S+) times\.", ("relay/262144/1", "relay/262144/16"), "nginx"),
        (r"costs nginx, (\S+) to (\S+) times HAProxy", ("relay/64/1", "relay/64/16"), "HAProxy"),
    ],
)
def test_ratios_are_those_that_were_measured(pattern: str, workloads: tuple[str, str], peer: str) -> None:
    found = re.search(pattern, TEXT)
    assert found is not None
    said = [float(value) for value in found.groups()]
    digits = [len(value.partition(".")[2]) for value in found.groups()]
    assert said == [round(value, places) for value, places in zip(between(workloads, peer), digits, strict=True)]


def test_costs_are_those_that_were_measured() -> None:
    found = re.search(r"costs the guard ([\d.]+) to ([\d.]+) ms", TEXT)
    assert found is not None
    assert [float(each) for each in found.groups()] == sorted(
        round(cost(f"handshake/{many}") * 1000, 1) for many in (1, 16)
    )
    found = re.search(r"as much as (\d+) % more", TEXT)
    assert found is not None
    most = max(cost(f"open/busy/{count}") for count in (100, 1000, 5000)) / cost("open/busy/10")
    assert int(found[1]) == round((most - 1) * 100)


def test_memory_is_what_was_measured() -> None:
    found = re.search(
        r"takes ([\d.]+) kB, as with HAProxy, (\d+) with nginx, (\d+) with Envoy, (\d+) with Traefik", TEXT
    )
    assert found is not None
    assert float(found[1]) == round(cost("memory") / 1000, 1)
    measured = [round(cost("memory", peer) / 1000) for peer in ("nginx", "Envoy", "Traefik")]
    assert [int(value) for value in found.groups()[1:]] == measured


def test_each_peer_has_a_source() -> None:
    rows = re.findall(r"^\| \*\*(\w[\w-]*)\*\* \|(.*)$", (ROOT / "docs/comparison.md").read_text("utf-8"), re.MULTILINE)
    assert len(rows) == 11
    assert [name for name, row in rows if "](https://" not in row] == ["wsguard"]
