"""The figures of benchmarks/rollout.py: what a deploy must be, a section of the page, a picture, and a file."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.moments import per_second
from benchmarks.tables import table

PICTURE = "performance-rollout.svg"
FLAT = 2.0  # times the mean that the busiest second may have


class Manner(Enum):
    """How the old replicas end."""

    DRAINED = "with wsguard"
    BARE = "without"
    KILLED = "with wsguard, SIGKILL"


@dataclass(frozen=True, slots=True)
class Ways:
    """Messages one way: how many were sent, never arrived, and reached the application twice."""

    sent: int
    lost: int
    duplicated: int

    @classmethod
    def of(cls, sent: Mapping[str, int], arrived: Mapping[tuple[str, int], int]) -> Ways:
        """By how many each client's numbers go up to, and how often each of them arrived."""
        numbers = [(name, number) for name, last in sent.items() for number in range(1, last + 1)]
        lost = sum(not arrived.get(number) for number in numbers)
        return cls(len(numbers), lost, sum(max(count - 1, 0) for count in arrived.values()))


@dataclass(frozen=True, slots=True)
class Step:
    """The end of one replica: what its clients saw until the next one's. `closes` and `opens` are in all, and the most
    in one second."""

    closes: tuple[int, int]
    opens: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Deploy:
    """One deploy. Times are in seconds; `closes` and `opens` count those of each second from its beginning.

    `window` is that of a drain, `grace` how long before its close a client was hinted.
    `moves` are the connections that were opened for one that ended, `overlapped` those whose predecessor was open
    still; `unbroken` counts the clients whose moves all were, `gaps` are client seconds without a connection.
    """

    manner: Manner
    clients: int
    window: float
    grace: float
    up: Ways
    down: Ways
    dropped: int
    moves: int
    overlapped: int
    unbroken: int
    gaps: float
    longest_gap: float
    steps: Sequence[Step]
    closes: Sequence[int]
    opens: Sequence[int]
    codes: Mapping[str, int]

    @classmethod
    def of(
        cls,
        manner: Manner,
        window: float,
        grace: float,
        reports: Sequence[Mapping[str, Any]],
        ledger: Mapping[tuple[str, int], int],
        published: Mapping[str, int],
        ends: Sequence[float],
    ) -> Deploy:
        """By what each client told in the end, what came to the hub, and when each old replica was told to end."""
        heard = Counter((report["name"], number) for report in reports for number in report["heard"])
        moves = [[is_overlap for _, is_overlap in report["opens"][1:]] for report in reports]
        gaps = [(to - since) / 1000 for report in reports for since, to in report["gaps"]]
        closes = sorted(when / 1000 for report in reports for when, _ in report["closes"])
        opens = sorted(when / 1000 for report in reports for when, _ in report["opens"][1:])
        return cls(
            manner,
            len(reports),
            window,
            grace,
            up=Ways.of({report["name"]: report["sent"] for report in reports}, ledger),
            down=Ways.of(published, heard),
            dropped=sum(report["received"] for report in reports) - heard.total(),
            moves=sum(map(len, moves)),
            overlapped=sum(map(sum, moves)),
            unbroken=sum(bool(each) and all(each) for each in moves),
            gaps=sum(gaps),
            longest_gap=max(gaps, default=0.0),
            steps=[
                Step(_within(closes, began, ended), _within(opens, began, ended))
                for began, ended in zip(ends, [*ends[1:], float("inf")], strict=True)
            ],
            closes=per_second(closes, ends[0]),
            opens=per_second(opens, ends[0]),
            codes=dict(Counter(str(code) for report in reports for _, code in report["closes"])),
        )

    def peak(self, what: Callable[[Step], tuple[int, int]]) -> tuple[int, float]:
        """The most in one second, of all steps, and how many times the mean of its step's window the worst is."""
        found = [what(step) for step in self.steps]
        worst = max((most * self.window / total for total, most in found if total), default=0.0)
        return max((most for _, most in found), default=0), worst

    @property
    def broken(self) -> list[str]:
        """What does not hold of a deploy that nobody is to notice; nothing where all does."""
        rules = {
            f"{self.unbroken} of {self.clients} clients always had the old connection when the next was open": (
                self.unbroken == self.clients
            ),
            f"messages were lost: {self.up.lost} up, {self.down.lost} down": not self.up.lost + self.down.lost,
            f"messages came twice: {self.up.duplicated} up, {self.down.duplicated} down": (
                not self.up.duplicated + self.down.duplicated
            ),
            f"clients were without a connection for {self.gaps:.3f} s": self.gaps == 0,
            f"closes were not flat: {self.peak(_closes)}": self.peak(_closes)[1] <= FLAT,
            f"reconnects were not flat: {self.peak(_opens)}": self.peak(_opens)[1] <= FLAT,
        }
        return [sentence for sentence, holds in rules.items() if not holds]


def _closes(step: Step) -> tuple[int, int]:
    return step.closes


def _opens(step: Step) -> tuple[int, int]:
    return step.opens


def _within(moments: Sequence[float], began: float, ended: float) -> tuple[int, int]:
    tenths = Counter(int((moment - began) * 10) for moment in moments if began <= moment < ended)
    most = max((sum(tenths[first + tenth] for tenth in range(10)) for first in tuple(tenths)), default=0)
    return tenths.total(), most


@dataclass(frozen=True, slots=True)
class Deploys:
    """The same deploy in each manner."""

    deploys: Sequence[Deploy]
    machine: Mapping[str, str]
    date: str = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).date().isoformat())

    def to_json(self) -> str:
        """Everything, for another program and for `from_json`."""
        return json.dumps(dataclasses.asdict(self), indent=1, default=lambda manner: manner.value) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Deploys:
        """What `to_json` wrote."""
        found = json.loads(text)
        found["deploys"] = [
            Deploy(
                **{
                    **deploy,
                    "manner": Manner(deploy["manner"]),
                    "up": Ways(**deploy["up"]),
                    "down": Ways(**deploy["down"]),
                    "steps": [Step(tuple(step["closes"]), tuple(step["opens"])) for step in deploy["steps"]],
                }
            )
            for deploy in found["deploys"]
        ]
        return cls(**found)


def sections(found: Deploys) -> Iterator[str]:
    """The part of the page, with its heading."""
    first = found.deploys[0]
    yield "## A rolling deploy"
    yield (
        f"{len(first.steps)} replicas behind a TCP balancer that asks for `/readyz`, replaced one after another: the "
        f"new one ready, then the old one told to end. {first.clients} clients on `client.js`, with default options, "
        "say something numbered and are told something numbered all the while; the backends share a hub, which keeps "
        f"nothing. With wsguard each old replica drains over {first.window:g} s, its clients hinted {first.grace:g} s "
        "before they are closed; its backend waits for `/drain/wait`, and both are ended by SIGTERM. Without, the "
        "backend gets its SIGTERM at once, and closes its connections with 1001. In the third column guard and backend "
        "are killed, without any notice."
    )
    yield f"![Closes and reconnects a second in each deploy]({PICTURE})"
    yield table(["", *(deploy.manner.value for deploy in found.deploys)], list(_rows(found.deploys)))
    yield (
        "*÷ mean* is by how many times the busiest second after the end of a replica exceeds the mean over its "
        f"{first.window:g} s, in the worst case. A kill loses what was under way on the connections at that moment, "
        "and what was published until each client was back; no proxy can tell which of it arrived. Where nothing may "
        "be lost even then, the server confirms messages, and both sides send again what was not."
    )
    facts = ", ".join(f"{name} {value}" for name, value in found.machine.items())
    yield f"Made by `python -m benchmarks rollout` on {found.date}. The machine: {facts}."


def _rows(deploys: Sequence[Deploy]) -> Iterator[list[str]]:
    cells: dict[str, Callable[[Deploy], str]] = {
        "the old connection was open when the next one's `open` came, clients": lambda one: (
            f"{one.unbroken} of {one.clients}"
        ),
        "the same, connections": lambda one: f"{one.overlapped} of {one.moves}",
        "messages of clients: sent": lambda one: str(one.up.sent),
        "lost": lambda one: str(one.up.lost),
        "twice": lambda one: str(one.up.duplicated),
        "messages to clients: sent ": lambda one: str(one.down.sent),
        "lost ": lambda one: str(one.down.lost),
        "twice ": lambda one: str(one.down.duplicated),
        "twice on the wire, dropped by `client.js`": lambda one: str(one.dropped),
        "without a connection, seconds of all clients": lambda one: f"{one.gaps:.1f}",
        "the longest of them": lambda one: f"{one.longest_gap:.1f}",
        "closes in the busiest second": lambda one: str(one.peak(_closes)[0]),
        "÷ mean": lambda one: f"{one.peak(_closes)[1]:.2f}",
        "reconnects in the busiest second": lambda one: str(one.peak(_opens)[0]),
        "÷ mean ": lambda one: f"{one.peak(_opens)[1]:.2f}",
        "close codes": lambda one: ", ".join(f"{code}: {count}" for code, count in sorted(one.codes.items())),
    }
    for title, cell in cells.items():
        yield [title.strip(), *map(cell, deploys)]


def draw(found: Deploys, path: Path) -> None:
    """Draw every deploy into the SVG file `path`."""
    with mpl.rc_context({"svg.hashsalt": "wsguard", "font.size": 9}):
        figure = Figure(figsize=(13, 3.5), layout="constrained")
        axes = figure.subplots(1, len(found.deploys), squeeze=False)[0]
        for axis, deploy in zip(axes, found.deploys, strict=True):
            for counts, color, label in (
                (deploy.closes, "#d1495b", "closed"),
                (deploy.opens, "#9a9a9a", "opened again"),
            ):
                axis.step(range(len(counts)), counts, where="post", color=color, label=label)
            axis.set_title(f"{deploy.clients} clients, {deploy.manner.value}")
            axis.set_xlabel("seconds of the deploy")
            axis.set_ylabel("in a second")
            axis.legend(frameon=False)
        figure.savefig(path, metadata={"Date": None})
