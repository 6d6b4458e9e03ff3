"""`wsguard top`: a running guard at a glance, drawn anew every second."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wsguard.cli._arguments import add_control_argument
from wsguard.cli._progress import progress
from wsguard.cli._table import table

if TYPE_CHECKING:
    from wsguard.cli._control import Guard

HELP = "watch a running guard: connections, rates, refusals by reason, the busiest connections"

_PAGE = 1000  # connections that are looked at for the busiest
_CLEAR = "\x1b[H\x1b[2J"
_ROWS = 12

Look = Mapping[str, Any]
"""What the control API says of the guard (`/v1/overview`), with a page of `connections` under `listed`."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("--interval", type=float, default=1.0, metavar="SECONDS", help="default: %(default)s")
    parser.add_argument("--once", action="store_true", help="draw once, after one interval, and end")
    add_control_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Draw until interrupted; returns the exit status. Raises UsageError."""
    import time

    from wsguard.cli import UsageError
    from wsguard.cli._control import Guard

    if not 0.1 <= args.interval <= 3600:
        raise UsageError("--interval is from 0.1 to 3600 seconds")
    guard = Guard(args.control)
    before = _look(guard)
    while True:
        time.sleep(args.interval)
        now = _look(guard)
        print("\n".join(draw(before, now)) if args.once else _CLEAR + "\n".join(draw(before, now)), flush=True)
        if args.once:
            return 0
        before = now


def _look(guard: Guard) -> Look:
    return {**guard.get("/v1/overview"), "listed": guard.get("/v1/connections", {"limit": str(_PAGE)})["connections"]}


def draw(before: Look, now: Look) -> Iterator[str]:
    """The lines, from two looks one after the other."""
    from datetime import datetime

    seconds = (datetime.fromisoformat(now["now"]) - datetime.fromisoformat(before["now"])).total_seconds() or 1.0

    def rate(name: str) -> float:
        return max(0.0, _sum(now[name]) - _sum(before[name])) / seconds

    yield f"wsguard {now['version']}  {now['now']}  policies {now['revision']}  {now['drain']['state']}"
    yield (
        f"{_sum(now['connections']):.0f} connections  {rate('handshakes'):.1f} handshakes/s  "
        f"{rate('messages'):.1f} messages/s  {rate('bytes') / 1024:.1f} KiB/s"
    )
    if kinds := _streams(now):
        yield kinds
    if now["drain"]["state"] != "serving":
        yield f"drain: {progress(now['drain'])}"
    if len(now["migration"]["backends"]) > 1:
        yield _backends(now["migration"])
    yield ""
    refused = _by_reason(row for row in now["handshakes"] if row["result"] != "admitted")
    yield from table([("REFUSED", "", "ENDED", ""), *_side_by_side(refused, _by_reason(iter(now["closed"])))])
    yield ""
    head = ("CONNECTION", "POLICY", "SUBJECT", "CLIENT", "PATH", "MESSAGES/S")
    yield from table([head, *_busiest(before, now, seconds)])


def _backends(migration: Mapping[str, Any]) -> str:
    counts = (f"{one['name']}{'*' if one['active'] else ''} {one['connections']}" for one in migration["backends"])
    words = f"backends: {'  '.join(counts)}"
    if migration["state"] in ("migrating", "paused"):
        words += f"  {migration['state']}: {progress(migration)}"
    return words


def _sum(rows: Sequence[Mapping[str, Any]]) -> float:
    return float(sum(row["value"] for row in rows))


def _streams(now: Look) -> str:
    """How many are what, where not all are WebSockets."""
    counts = {row["stream"]: int(row["value"]) for row in now["streams"] if row["value"]}
    return "" if set(counts) <= {"WebSocket"} else "  ".join(f"{count} {name}" for name, count in counts.items())


def _by_reason(rows: Iterator[Mapping[str, Any]]) -> list[tuple[str, str]]:
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row["reason"]] += int(row["value"])
    return [(reason, str(count)) for reason, count in counts.most_common(_ROWS) if count]


def _side_by_side(left: Sequence[tuple[str, str]], right: Sequence[tuple[str, str]]) -> list[tuple[str, ...]]:
    from itertools import zip_longest

    return [(*one, *other) for one, other in zip_longest(left, right, fillvalue=("", ""))]


def _busiest(before: Look, now: Look, seconds: float) -> list[tuple[str, ...]]:
    """The connections with the most messages since the last look, as far as both looks had them on their page."""
    seen = {one["id"]: sum(one["messages"].values()) for one in before["listed"]}
    rates = [
        ((sum(one["messages"].values()) - seen.get(one["id"], 0)) / seconds, one)
        for one in now["listed"]
        if one["id"] in seen or one["openedAt"] >= before["now"]
    ]
    rates.sort(key=lambda pair: pair[0], reverse=True)
    return [
        (one["id"], one["policy"], one["subject"] or "-", one["clientIP"], one["path"], f"{rate:.1f}")
        for rate, one in rates[:_ROWS]
    ]
