"""The figures of benchmarks/sessions.py as sections of the page, and as a file to write the page again from."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

from benchmarks.tables import table

NOTHING = "none"  # the credential that the others are compared with


@dataclass(frozen=True, slots=True)
class Spread:
    """How long each of `count` things took, in seconds."""

    p50: float
    p99: float
    slowest: float
    count: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        """The spread of some times."""
        p99 = quantiles(seconds, n=100, method="inclusive")[98] if len(seconds) > 1 else seconds[0]
        return cls(median(seconds), p99, max(seconds), len(seconds))


@dataclass(frozen=True, slots=True)
class Sessions:
    """`closes` is where → victims → a spread a round, `costs` credential → cached or fresh → CPU seconds."""

    closes: Mapping[str, Mapping[str, Sequence[Spread]]]
    costs: Mapping[str, Mapping[str, Sequence[float]]]
    connections: int
    handshakes: int
    rounds: int
    machine: Mapping[str, str]
    seconds: float
    date: str = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).date().isoformat())

    def to_json(self) -> str:
        """Everything, for another program and for `from_json`."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Sessions:
        """What `to_json` wrote."""
        found = json.loads(text)
        for by_victims in found["closes"].values():
            for victims, spreads in by_victims.items():
                by_victims[victims] = [Spread(**spread) for spread in spreads]
        return cls(**found)


def sections(found: Sessions) -> Iterator[str]:
    """The parts of the page, with their headings."""
    yield "## From a log-out to the Close"
    yield (
        f"ms from the call of `POST /v1/logout` to the Close at the client, with {found.connections} connections open: "
        "one victim at a time by its `sid`, then all that are left by their common `subject`. The client notes each "
        "Close as it comes, in Python and on another core than the guard's, so with all victims a part of the time is "
        "its own. Redis writes each event to its disk before it answers."
    )
    rows = [
        [where, victims, *(f"{1e3 * seconds:.1f}" for seconds in _medians(spreads)), str(spreads[0].count)]
        for where, by_victims in found.closes.items()
        for victims, spreads in by_victims.items()
    ]
    yield table(["sockets at", "victims", "p50", "p99", "slowest", "Closes"], rows)
    yield "## What a credential costs"
    yield (
        "CPU time of the guard in µs for a handshake and its end, and how many times that is what it costs without a "
        "credential: with one that the guard knows already, and with a new one each time. Whoever is asked runs "
        "elsewhere, and waiting for the answer costs no CPU time."
    )
    nothing = {state: median(values) for state, values in found.costs[NOTHING].items()}
    yield table(
        ["credential", "known", "÷ none", "new", "÷ none"],
        [
            [name, *(cell for state in ("cached", "fresh") for cell in _cost(median(costs[state]), nothing[state]))]
            for name, costs in found.costs.items()
        ],
    )
    facts = ", ".join(f"{name} {value}" for name, value in found.machine.items())
    yield (
        f"Both made by `python -m benchmarks sessions` on {found.date}, in {found.seconds / 60:.0f} minutes: medians "
        f"of {found.rounds} rounds, {found.handshakes} handshakes a figure, each guard a process of its own, on a core "
        f"of its own where the machine has several. The machine: {facts}."
    )


def _medians(spreads: Sequence[Spread]) -> tuple[float, float, float]:
    """Of the rounds' medians, of their 99th percentiles, and of their slowest."""
    return (
        median(spread.p50 for spread in spreads),
        median(spread.p99 for spread in spreads),
        median(spread.slowest for spread in spreads),
    )


def _cost(seconds: float, nothing: float) -> tuple[str, str]:
    return f"{1e6 * seconds:.0f}", f"{seconds / nothing:.2f}"
