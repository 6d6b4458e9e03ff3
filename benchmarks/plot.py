"""The figures as one picture: six panels, the same colour for the same proxy in each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.report import KILO, MICRO, Run, size_name
from benchmarks.workloads import BUSY, NO_PROXY, SHAKERS, SIZES, WINDOWS

COLOURS = {
    "wsguard": "#d1495b",
    "nginx": "#2e933c",
    "HAProxy": "#3066be",
    "Envoy": "#9a6fb0",
    "Traefik": "#5fb3c8",
    "aiohttp relay": "#b8a15a",
    NO_PROXY: "#9a9a9a",
}
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "wsguard",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
}


def plot(run: Run, path: Path) -> None:
    """Draw everything into the SVG file `path`."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(13, 7.5), layout="constrained")
        (relay, relay_many, handshake), (memory, open_, latency) = figure.subplots(2, 3)
        for axis, window in zip((relay, relay_many), WINDOWS, strict=True):
            _groups(axis, run, {size_name(size): f"relay/{size}/{window}" for size in SIZES})
            axis.set_title(f"Relayed message, {window} outstanding")
            axis.set_ylabel("CPU µs a message (log)")
        _bars(handshake, run, f"handshake/{SHAKERS[0]}", MICRO)
        handshake.set_title(f"Handshake, one echo, close; {SHAKERS[0]} at a time")
        handshake.set_xlabel("CPU µs")
        _bars(memory, run, "memory", KILO)
        memory.set_title(f"Idle connection, {run.effort.open[-1]} open")
        memory.set_xlabel("memory, kB")
        _lines(open_, run)
        _groups(latency, run, {"p50": "latency/p50", "p99": "latency/p99"})
        latency.set_title("Latency at a light load")
        latency.set_ylabel("µs (log)")
        for axis in figure.axes:
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(axis="x" if axis in (handshake, memory) else "y", alpha=0.25)
            axis.set_axisbelow(True)
        handles = [Patch(color=COLOURS[peer], label=peer) for peer in _peers(run)]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
        figure.savefig(path, metadata={"Date": None})


def _peers(run: Run) -> list[str]:
    return [*run.versions, NO_PROXY]


def _groups(axis: Any, run: Run, groups: Mapping[str, str]) -> None:
    """A group of bars for each workload, one bar a proxy; label → workload."""
    works = list(groups.values())
    peers = [peer for peer in _peers(run) if run.value(works[0], peer) is not None]
    width = 0.84 / len(peers)
    for index, peer in enumerate(peers):
        places = [group - 0.42 + (index + 0.5) * width for group in range(len(works))]
        heights = [(run.value(work, peer) or 0) * MICRO for work in works]
        axis.bar(places, heights, width * 0.92, color=COLOURS[peer])
    axis.set_xticks(range(len(works)), list(groups))
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())


def _bars(axis: Any, run: Run, workload: str, factor: float) -> None:
    """One horizontal bar a proxy, with its value."""
    found = {peer: run.value(workload, peer) for peer in run.versions}
    values = {peer: value * factor for peer, value in found.items() if value is not None}
    bars = axis.barh(list(values), list(values.values()), color=[COLOURS[peer] for peer in values])
    axis.bar_label(bars, fmt="%.0f" if max(values.values()) > 200 else "%.1f", padding=3)
    axis.margins(x=0.12)
    axis.invert_yaxis()


def _lines(axis: Any, run: Run) -> None:
    """Cost of a message by open connections, two lines a proxy."""
    counts = list(run.effort.open)
    for peer in run.versions:
        for kind, style in (("idle", "-"), ("busy", ":")):
            costs = [(run.value(f"open/{kind}/{number}", peer) or 0) * MICRO for number in counts]
            axis.plot(counts, costs, style, marker="o", markersize=4, color=COLOURS[peer])
    axis.set_xscale("log")
    axis.set_xticks(counts, [f"{number:,}" for number in counts])
    axis.minorticks_off()
    axis.set_ylim(bottom=0)
    axis.set_xlabel(f"open connections; {BUSY} busy (line), all in turn (dots)")
    axis.set_ylabel("CPU µs a message")
    axis.set_title("Cost of a message by open connections")
