"""The figures as a page: medians, ratios, and the targets beside what was measured."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks import drain_report, flood_report, rollout_report
from benchmarks.drain_report import Drains
from benchmarks.flood_report import Flood
from benchmarks.rollout_report import Deploys
from benchmarks.sessions_report import Sessions, sections
from benchmarks.tables import table
from benchmarks.workloads import (
    BUSY,
    NO_PROXY,
    PACED_RATE,
    PACED_SIZE,
    SHAKERS,
    SIZES,
    WINDOWS,
    Effort,
)

GUARD = "wsguard"
TUNED = ("nginx", "HAProxy")
MICRO = 1e6
KILO = 1e-3


@dataclass(frozen=True, slots=True)
class Run:
    """All that one run found. `figures` is workload → proxy → values; `versions` has every proxy measured."""

    figures: Mapping[str, Mapping[str, Sequence[float]]]
    effort: Effort
    versions: Mapping[str, str]
    left_out: tuple[str, ...]
    machine: Mapping[str, str]
    seconds: float
    date: str = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).date().isoformat())

    def value(self, workload: str, peer: str) -> float | None:
        """The median of all values; None where it was not measured."""
        values = self.figures.get(workload, {}).get(peer)
        return median(values) if values else None

    def ratio(self, workload: str, peer: str, other: str) -> float | None:
        """`peer`'s median by `other`'s."""
        mine, theirs = self.value(workload, peer), self.value(workload, other)
        return mine / theirs if mine is not None and theirs else None

    def change(self, kind: str, peer: str) -> float | None:
        """The largest change of a message's cost from the fewest open connections, as a part of that cost."""
        workloads = [f"open/{kind}/{number}" for number in self.effort.open]
        costs = [cost for workload in workloads if (cost := self.value(workload, peer)) is not None]
        return max((cost / costs[0] - 1 for cost in costs), key=abs) if costs else None

    def to_json(self) -> str:
        """Everything, for another program."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Run:
        """What `to_json` wrote."""
        found = json.loads(text)
        effort = found.pop("effort")
        return cls(**found, effort=Effort(**{**effort, "open": tuple(effort["open"])}))


def machine() -> dict[str, str]:
    """What a reader must know of this machine to compare; nothing that names it. To be asked before the run."""
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return {
        "processor": cpu[1] if cpu else platform.machine(),
        "cores": str(os.cpu_count()),
        "kernel": "Linux " + ".".join(platform.release().split(".")[:2]),
        "Python": platform.python_version(),
        "uvloop": importlib.metadata.version("uvloop"),
        "load average before the run": f"{os.getloadavg()[0]:.1f}",
    }


def size_name(size: int) -> str:
    """`64 B`, `16 KiB`."""
    return f"{size // 1024} KiB" if size >= 1024 else f"{size} B"


def markdown(
    run: Run,
    sessions: Sessions | None = None,
    drains: Drains | None = None,
    deploys: Deploys | None = None,
    flood: Flood | None = None,
) -> str:
    """The whole page, with the figures of `sessions`, `drains`, `deploys` and `flood` where there are some."""
    compared = (_targets, _relay, _handshake, _memory, _open, _latency, _method)
    parts = [
        "# Performance",
        "Made by `make bench`; do not edit. The figures report and never gate a change.",
        "![CPU time, memory and latency of wsguard beside other proxies](performance.svg)",
        *(part for section in compared for part in section(run)),
        *(sections(sessions) if sessions else ()),
        *(drain_report.sections(drains) if drains else ()),
        *(rollout_report.sections(deploys) if deploys else ()),
        *(flood_report.sections(flood) if flood else ()),
    ]
    return "\n\n".join(parts) + "\n"


def _number(value: float | None, factor: float = 1.0, digits: int = 1) -> str:
    return "-" if value is None else f"{value * factor:.{digits}f}"


def _figures(run: Run, title: str, columns: Mapping[str, str], factor: float, digits: int = 1) -> str:
    """A row for each proxy, then what the guard costs by each tuned one; `columns` is head → workload."""
    works = list(columns.values())
    peers = [peer for peer in (*run.versions, NO_PROXY) if run.value(works[0], peer) is not None]
    rows = [[peer, *(_number(run.value(work, peer), factor, digits) for work in works)] for peer in peers]
    for other in TUNED:
        if {GUARD, other} <= set(peers):
            ratios = (_number(run.ratio(work, GUARD, other), digits=2) for work in works)
            rows.append([f"*{GUARD} ÷ {other}*", *ratios])
    return table([title, *columns], rows)


def _targets(run: Run) -> Iterator[str]:
    """What was set out to be reached; nothing where the guard was left out."""
    rows = list(_relay_targets(run))
    for shakers in SHAKERS:
        if (ratio := run.ratio(f"handshake/{shakers}", GUARD, "Envoy")) is not None:
            title = f"handshake with Origin and JWT, {shakers} at a time, by Envoy's plain one"
            rows.append(_verdict(title, ratio, 1.5))
    if (memory := run.value("memory", GUARD)) is not None:
        title = f"memory of a connection in kB, {run.effort.open[-1]} idle"
        rows.append(_verdict(title, memory * KILO, 10))
    span = f"from {run.effort.open[0]} to {run.effort.open[-1]} open connections"
    for kind, title in (("idle", f"{BUSY} of them busy"), ("busy", "all in turn")):
        if (change := run.change(kind, GUARD)) is not None:
            met = "yes" if abs(change) <= 0.2 else "no"
            rows.append([f"change of a message's cost {span}, {title}", "±20 %", f"{change:+.0%}", met])
    if rows:
        yield "## Targets"
        yield table(["", "at most", "measured", "met"], rows)


def _relay_targets(run: Run) -> Iterator[list[str]]:
    for size in SIZES:
        for window in WINDOWS:
            work = f"relay/{size}/{window}"
            ratios = [ratio for other in TUNED if (ratio := run.ratio(work, GUARD, other)) is not None]
            if ratios:
                title = f"message of {size_name(size)}, {window} outstanding, by the better of nginx and HAProxy"
                yield _verdict(title, max(ratios), 1.1 if size == SIZES[-1] else 1.5)


def _verdict(title: str, measured: float, bound: float) -> list[str]:
    return [title, f"{bound:g}", f"{measured:.2f}", "yes" if measured <= bound else "no"]


def _relay(run: Run) -> Iterator[str]:
    yield "## Relayed messages"
    yield (
        "CPU time of the proxy in µs for each message that goes to the echo backend and comes back, on "
        f"{BUSY} connections, by the number of messages outstanding on each. With {WINDOWS[-1]} "
        "outstanding, small messages travel many to a segment."
    )
    for window in WINDOWS:
        columns = {size_name(size): f"relay/{size}/{window}" for size in SIZES}
        yield _figures(run, f"{window} outstanding", columns, MICRO, 1 if window == 1 else 2)


def _handshake(run: Run) -> Iterator[str]:
    yield "## Handshake"
    yield (
        "CPU time of the proxy in µs for handshake, one echo of 64 bytes, Close and end of the "
        f"connection. {GUARD} judges Origin and a JWT in a cookie (verified once, then known by its "
        "digest) each time; the others check nothing."
    )
    columns = {f"{shakers} at a time": f"handshake/{shakers}" for shakers in SHAKERS}
    yield _figures(run, "", columns, MICRO, 0)


def _memory(run: Run) -> Iterator[str]:
    yield "## Idle connections"
    yield (
        f"Memory of the proxy's processes (PSS) in kB (1000 bytes) for each of {run.effort.open[-1]} idle "
        "connections; the kernel's socket buffers are not in it."
    )
    yield _figures(run, "", {"kB": "memory"}, KILO)


def _open(run: Run) -> Iterator[str]:
    yield "## Cost of a message by open connections"
    yield (
        f"CPU time of the proxy in µs for each message of 64 bytes, {BUSY} outstanding in all. First on "
        f"{BUSY} of the open connections while the others are idle; then each next message on the next "
        "connection, so that all take part, and what a connection needs must come back into the "
        "processor's caches each time."
    )
    for kind, title in (("idle", f"{BUSY} busy, of"), ("busy", "all in turn, of")):
        columns = {f"{number}": f"open/{kind}/{number}" for number in run.effort.open}
        yield _figures(run, title, columns, MICRO)


def _latency(run: Run) -> Iterator[str]:
    yield "## Latency"
    yield (
        f"µs from the time a message of {size_name(PACED_SIZE)} was due to its echo, at {PACED_RATE:.0f} "
        f"messages a second on {BUSY} connections; a late message counts from its time in the schedule."
    )
    yield _figures(run, "", {"p50": "latency/p50", "p99": "latency/p99"}, MICRO, 0)


def _method(run: Run) -> Iterator[str]:
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    facts = ", ".join(f"{name} {value}" for name, value in run.machine.items())
    yield "## How it was measured"
    yield f"On {run.date}, in {run.seconds / 60:.0f} minutes: {versions}. The machine: {facts}."
    yield (
        f"Medians. Every proxy is started anew for each of {run.effort.rounds} rounds, and within a round "
        f"they take turns at each workload, {run.effort.turns} times at relay and handshake. Each has one "
        "worker, on a core of its own where the machine has several; the load generator and the echo "
        "backend (`benchmarks/native/`, C and epoll) share the others. CPU time is user and system time "
        "of all threads of the proxy's processes, read from the kernel before and after each phase."
    )
    yield (
        "The configurations are in `benchmarks/configs/`. nginx and HAProxy have buffers of 64 KiB where "
        "messages are relayed, and their stock ones for handshakes and idle connections. Access logs are "
        f"off. Every proxy gets the same Origin and Cookie; only {GUARD} reads them. The value of every "
        "turn is in `benchmarks/results/latest.json`."
    )
    if run.left_out:
        yield "Left out: " + "; ".join(run.left_out) + "."
