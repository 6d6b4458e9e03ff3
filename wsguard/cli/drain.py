"""`wsguard drain`: send the connections of a running guard away, spread over a window."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from wsguard.cli import UsageError
from wsguard.cli._arguments import add_control_argument
from wsguard.cli._progress import Bar

if TYPE_CHECKING:
    from wsguard.cli._control import Guard

HELP = "send the connections of a running guard away, spread over a window"

_LOOK = 0.25  # seconds between two looks


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("--window", metavar="DURATION", help="such as 30s (default: the guard's drainWindow)")
    parser.add_argument(
        "--after",
        metavar="DURATION",
        help="begin so much later: until then load balancers go on sending connections to a pod that ends",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--wait", action="store_true", help="return only once no connection is left; in a terminal with a progress bar"
    )
    what.add_argument("--cancel", action="store_true", help="take connections again")
    add_control_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Begin or cancel a drain; returns the exit status."""
    from wsguard.cli._control import Guard

    guard = Guard(args.control)
    if args.cancel:
        if args.window or args.after:
            raise UsageError("--cancel has neither --window nor --after")
        guard.delete("/v1/drain")
        print("the guard takes connections again")
        return 0
    if args.after is not None:
        _sleep(args.after, args.window)
    drain = guard.post("/v1/drain", {"window": args.window})
    _tell(drain, args.window)
    if args.wait and drain["state"] != "drained":
        _wait(guard)
    return 0


def _sleep(after: str, window: str | None) -> None:
    """For so long, unless `window` would be refused then."""
    import time

    seconds = _seconds("--after", after)
    if window is not None:
        _seconds("--window", window)
    time.sleep(seconds)


def _seconds(option: str, text: str) -> float:
    from wsguard.policy.fields import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def _wait(guard: Guard) -> None:
    """Until the drain has finished, or the guard with it: it may get its SIGTERM meanwhile."""
    import time

    from wsguard.cli._control import NoGuardError

    with Bar() as bar:
        while True:
            try:
                drain = guard.get("/v1/drain")
            except NoGuardError:
                bar.clear()
                print("the guard has ended")
                return
            if drain["state"] == "serving":
                raise UsageError("the drain was cancelled")
            if drain["state"] == "drained":
                bar.clear()
                _tell(drain)
                return
            bar.draw(drain)
            time.sleep(_LOOK)


def _tell(drain: dict[str, Any], window: str | None = None) -> None:
    """`window` as it was asked for: the guard tells it in seconds."""
    count = drain["remaining"]
    left = f"{count} connection{'' if count == 1 else 's'}"
    over = window or drain["window"]
    print(f"drained, {left} left" if drain["state"] == "drained" else f"draining {left} over {over}")
