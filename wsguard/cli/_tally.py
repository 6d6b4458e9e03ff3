"""What Enforce would have done, and what was done, counted from the audit trail. Memory stays bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from wsguard.cli._audit_trail import Entry
from wsguard.ops.redact import printable

MOST_ROWS = 10_000
"""Kinds of refusal that are told apart: a stranger chooses the Origin."""

SHOWN = 10
"""Rows of each list that are printed; the others are one row."""

_REST = ("", "of other kinds")


@dataclass(slots=True)
class PolicyTally:
    """One policy. `refused` and `audited` count by reason and Origin, `spared` and `cut` by reason."""

    admitted: int = 0
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    audited: Counter[tuple[str, str]] = field(default_factory=Counter)
    spared: Counter[tuple[str, str]] = field(default_factory=Counter)
    cut: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def handshakes(self) -> int:
        """All of them."""
        return self.admitted + self.refused.total() + self.audited.total()


@dataclass(slots=True)
class Tally:
    """All policies by name; `None` of handshakes that none matched. `foreign` counts lines that no guard wrote."""

    policies: dict[str | None, PolicyTally] = field(default_factory=dict)
    first: float | None = None
    last: float | None = None
    foreign: int = 0

    def add(self, entries: Iterable[Entry | None], since: float) -> None:
        """Count what happened from `since` on (seconds since the epoch)."""
        for entry in entries:
            if entry is None:
                self.foreign += 1
            elif entry.at >= since and entry.event in ("handshake", "cut_spared", "connection_closed"):
                self.first = entry.at if self.first is None else min(self.first, entry.at)
                self.last = entry.at if self.last is None else max(self.last, entry.at)
                self._count(entry, self.policies.setdefault(entry.text("policy"), PolicyTally()))

    def _count(self, entry: Entry, policy: PolicyTally) -> None:
        reason = entry.text("reason") or ""
        if entry.event == "cut_spared":
            _increment(policy.spared, (reason, ""))
        elif entry.event == "connection_closed":
            if entry.text("initiator") == "guard":
                _increment(policy.cut, (reason, ""))
        elif entry.text("result") == "admitted":
            policy.admitted += 1
        else:
            counter = policy.audited if entry.text("result") == "audited" else policy.refused
            _increment(counter, (reason, entry.text("origin") or "no Origin"))

    def lines(self) -> Iterator[str]:
        """The report for people."""
        if self.first is None or self.last is None:
            yield "no handshake and no cut in these lines"
            return
        yield f"from {_time(self.first)} to {_time(self.last)}"
        for name, policy in sorted(self.policies.items(), key=lambda item: item[0] or ""):
            yield ""
            yield f"policy {printable(name)}" if name is not None else "no policy"
            handshakes = f"{policy.handshakes} handshake{'' if policy.handshakes == 1 else 's'}"
            for heading, counter in (
                (f"  of {handshakes} Enforce would have refused", policy.audited),
                ("  of the live connections Enforce would have cut", policy.spared),
                (f"  of {handshakes} refused", policy.refused),
                ("  of the live connections cut", policy.cut),
            ):
                if counter:
                    yield f"{heading} {counter.total()}:"
                    yield from _rows(counter)
            if not policy.refused and not policy.audited:
                yield f"  {handshakes}, none refused"


def as_json(tally: Tally) -> dict[str, object]:
    """The report for programs."""
    return {
        "from": None if tally.first is None else _time(tally.first),
        "to": None if tally.last is None else _time(tally.last),
        "policies": [
            {
                "policy": name,
                "admitted": policy.admitted,
                **{
                    kind: [
                        {"reason": reason, **({"origin": origin} if origin else {}), "count": count}
                        for (reason, origin), count in getattr(policy, kind).most_common()
                    ]
                    for kind in ("audited", "spared", "refused", "cut")
                },
            }
            for name, policy in tally.policies.items()
        ],
    }


def _increment(counter: Counter[tuple[str, str]], row: tuple[str, str]) -> None:
    counter[row if row in counter or len(counter) < MOST_ROWS else _REST] += 1


def _rows(counter: Counter[tuple[str, str]]) -> Iterator[str]:
    top = counter.most_common(SHOWN)
    width = max(len(f"{count}") for _, count in top)
    for (reason, origin), count in top:
        yield f"    {count:>{width}}  {printable(reason)}{f'  {printable(origin)}' if origin else ''}"
    if rest := counter.total() - sum(count for _, count in top):
        yield f"    {rest:>{width}}  of {len(counter) - len(top)} more kinds"


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
