"""The figures of benchmarks/drain.py as a section of the page, as a picture, and as a file to write both again from."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.moments import per_second
from benchmarks.tables import table

PICTURE = "performance-drain.svg"


@dataclass(frozen=True, slots=True)
class Drain:
    """One drain. `closes` and `returns` count those of each second from SIGTERM on; times are in seconds."""

    window: float
    connections: int
    closes: Sequence[int]
    returns: Sequence[int]
    exit: float
    cpu: float

    @classmethod
    def of(
        cls,
        window: float,
        connections: int,
        closes: Sequence[float],
        returns: Sequence[float],
        exit: float,  # noqa: A002  (what it is called)
        cpu: float,
    ) -> Drain:
        """A drain by the moments at which things happened."""
        return cls(window, connections, per_second(closes), per_second(returns), exit, cpu)

    @property
    def told(self) -> int:
        """How many got a Close."""
        return sum(self.closes)


@dataclass(frozen=True, slots=True)
class Drains:
    """A drain for each window."""

    drains: Sequence[Drain]
    machine: Mapping[str, str]
    date: str = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).date().isoformat())

    def to_json(self) -> str:
        """Everything, for another program and for `from_json`."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Drains:
        """What `to_json` wrote."""
        found = json.loads(text)
        found["drains"] = [Drain(**drain) for drain in found["drains"]]
        return cls(**found)


def sections(found: Drains) -> Iterator[str]:
    """The part of the page, with its heading."""
    yield "## A drain"
    yield (
        "From SIGTERM to the end of the guard, with idle connections whose clients answer their Close: how many Closes "
        "came in the busiest second, how many clients were asked back in the busiest one by `retry-after`, each with "
        "how many times the mean that is; when the guard had ended; and its CPU time."
    )
    yield f"![Closes and returns a second in each drain]({PICTURE})"
    rows = [
        [
            f"{drain.connections} over {drain.window:g} s",
            *_peak(drain.closes, drain.window),
            *_peak(drain.returns, len(drain.returns)),
            f"{drain.exit:.1f} s",
            f"{drain.cpu:.1f} s",
            f"{1e6 * drain.cpu / drain.connections:.0f} µs",
        ]
        for drain in found.drains
    ]
    head = ["connections", "Closes/s", "÷ mean", "returns/s", "÷ mean", "ended after", "CPU time", "a connection"]
    yield table(head, rows)
    facts = ", ".join(f"{name} {value}" for name, value in found.machine.items())
    yield f"Made by `python -m benchmarks drain` on {found.date}. The machine: {facts}."


def _peak(per_second: Sequence[int], seconds: float) -> tuple[str, str]:
    most = max(per_second, default=0)
    return str(most), f"{most * seconds / (sum(per_second) or 1):.2f}"


def draw(found: Drains, path: Path) -> None:
    """Draw every drain into the SVG file `path`."""
    with mpl.rc_context({"svg.hashsalt": "wsguard", "font.size": 9}):
        figure = Figure(figsize=(13, 3.5), layout="constrained")
        axes = figure.subplots(1, len(found.drains), squeeze=False)[0]
        for axis, drain in zip(axes, found.drains, strict=True):
            axis.bar(range(len(drain.returns)), drain.returns, 1.0, align="edge", color="#9a9a9a", label="asked back")
            axis.bar(range(len(drain.closes)), drain.closes, 0.6, align="edge", color="#d1495b", label="closed")
            axis.set_title(f"{drain.connections} connections over {drain.window:g} s")
            axis.set_xlabel("seconds after SIGTERM")
            axis.set_ylabel("in a second")
            axis.legend(frameon=False)
        figure.savefig(path, metadata={"Date": None})
