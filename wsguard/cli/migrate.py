"""`wsguard migrate`: move the connections of a running guard from one backend to another, and back."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from wsguard.cli import UsageError
from wsguard.cli._arguments import add_control_argument
from wsguard.cli._progress import Bar
from wsguard.cli._table import table

if TYPE_CHECKING:
    from wsguard.cli._control import Guard

HELP = "move the connections of a running guard to another backend, spread over a window; or say how far that is"

_LOOK = 0.25  # seconds between two looks


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--to", metavar="BACKEND", help="the name of the backend that they go to, and all new ones")
    what.add_argument(
        "--abort", action="store_true", help="move nobody else; new connections go where they went before"
    )
    parser.add_argument("--window", metavar="DURATION", help="such as 10m (default: the guard's drainWindow)")
    parser.add_argument(
        "--wait",
        action="store_true",
        help="return only once no connection is left elsewhere; in a terminal with a progress bar",
    )
    add_control_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Begin, abort, await or show a migration; returns the exit status."""
    from wsguard.cli._control import Guard

    if args.window is not None and args.to is None:
        raise UsageError("--window goes with --to")
    if args.abort and args.wait:
        raise UsageError("--abort waits for nothing")
    guard = Guard(args.control)
    if args.to is not None:
        begun = guard.post("/v1/migrate", {"to": args.to, "window": args.window})
        over = args.window or begun["window"]
        print(f"moving {_connections(begun['remaining'])} to {begun['to']} over {over}", flush=True)
    elif args.abort:
        aborted = guard.delete("/v1/migrate")
        print(f"aborted: new connections go to {aborted['from']}, those at {aborted['to']} stay there")
    elif not args.wait:
        _show(guard.get("/v1/migrate"))
    if args.wait:
        _wait(guard)
    return 0


def _wait(guard: Guard) -> None:
    """Until the migration has ended; a pause, and its end, is said."""
    import time

    paused = False
    with Bar() as bar:
        while True:
            migration = guard.get("/v1/migrate")
            if migration["state"] == "idle":
                raise UsageError("no migration is under way")
            if migration["state"] == "aborted":
                raise UsageError(f"the migration was aborted: {migration['detail']}")
            if migration["state"] == "migrated":
                bar.clear()
                print(f"moved to {migration['to']}: {_left(migration)}")
                return
            if paused is not (paused := migration["state"] == "paused"):
                bar.clear()
                print(f"paused: {migration['detail']}" if paused else "goes on", flush=True)
            bar.draw(migration)
            time.sleep(_LOOK)


def _left(migration: dict[str, Any]) -> str:
    """What is left elsewhere."""
    others = (one for one in migration["backends"] if one["name"] != migration["to"])
    return "; ".join(
        f"{one['name']} has {_connections(one['connections'])}"
        + (f", {one['requests']} plain requests under way" if one["requests"] else "")
        for one in others
    )


def _connections(count: int) -> str:
    return f"{count} connection{'' if count == 1 else 's'}"


def _show(migration: dict[str, Any]) -> None:
    rows = [
        (one["name"] + (" (active)" if one["active"] else ""), *(str(one[what]) for what in _COUNTS))
        for one in migration["backends"]
    ]
    print("\n".join(table([("BACKEND", *(what.upper() for what in _COUNTS)), *rows])))
    words = migration["state"]
    if migration["to"] is not None:
        words += (
            f": from {migration['from']} to {migration['to']}, {migration['remaining']} of {migration['total']} left"
        )
    print(f"{words}; {migration['detail']}" if migration["detail"] else words)


_COUNTS = ("connections", "handshakes", "requests")
