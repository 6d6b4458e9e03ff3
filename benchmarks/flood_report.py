"""The figures of benchmarks/flood.py as a section of the page, and as a file to write it again from."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.tables import table


@dataclass(frozen=True, slots=True)
class Calm:
    """How honest clients fared: seconds from dialling to an echo, and the CPU time a second of everyone involved.

    `ended`: stalled handshakes a second that the guard ended, for their time was up or others wanted their place.
    """

    latencies: Sequence[float]
    failed: int
    ended: float
    guard: float
    clients: float
    flooder: float

    def percentile(self, share: float) -> float:
        """The latency that this share of the clients stayed under."""
        ordered = sorted(self.latencies)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


@dataclass(frozen=True, slots=True)
class Flood:
    """The same clients without `stalled` handshakes and with them."""

    stalled: int
    before: Calm
    during: Calm
    machine: Mapping[str, str]
    date: str = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).date().isoformat())

    def to_json(self) -> str:
        """Everything, for another program and for `from_json`."""
        return json.dumps(dataclasses.asdict(self)) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Flood:
        """What `to_json` wrote."""
        found = json.loads(text)
        return cls(**{**found, "before": Calm(**found["before"]), "during": Calm(**found["during"])})

    @property
    def ratio(self) -> float:
        """By how much the flood has slowed down the slowest in a hundred."""
        return self.during.percentile(0.99) / self.before.percentile(0.99)


def sections(found: Flood) -> Iterator[str]:
    """The part of the page, with its heading."""
    yield "## A flood of stalled handshakes"
    yield (
        f"One process holds {found.stalled:,} connections open that have sent half a handshake, and opens each anew "
        "when the guard ends it: for its time is up, or to make room where descriptors are few. Honest clients come "
        "one after another, four at a time: dial, handshake, one echo, Close. The guard has a core to itself; flooder, "
        "honest clients and backend share the others, where the flooder gives way (nice 19): clients are to wait for "
        "the guard, not for a core. CPU is in seconds a second."
    )
    rows = [_row("without", found.before), _row("with", found.during)]
    yield table(
        ["flood", "median", "p99", "honest clients", "failed", "ended /s", "guard", "clients' CPU", "flooder's"], rows
    )
    met = "yes" if found.ratio <= 2 else "no"
    yield f"The p99 with the flood is {found.ratio:.2f} of that without; set out for: 2; met: {met}."
    facts = ", ".join(f"{name} {value}" for name, value in found.machine.items())
    yield f"Made by `python -m benchmarks flood` on {found.date}. The machine: {facts}."


def _row(name: str, calm: Calm) -> list[str]:
    median, worst = (f"{1000 * calm.percentile(share):.1f} ms" for share in (0.5, 0.99))
    shares = (f"{share:.2f}" for share in (calm.guard, calm.clients, calm.flooder))
    return [name, median, worst, str(len(calm.latencies)), str(calm.failed), f"{calm.ended:,.0f}", *shares]
