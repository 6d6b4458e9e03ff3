"""`wsguard connections`: who is connected to a running guard."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wsguard.cli._arguments import add_control_argument
from wsguard.cli._table import table

if TYPE_CHECKING:
    from wsguard.cli._control import Guard

HELP = "list the connections of a running guard"

_PAGE = "1000"
_COLUMNS = (
    *("ID", "STREAM", "POLICY", "SUBJECT", "SID", "CLIENT", "PATH"),
    *("OPENED", "EXPIRES", "MESSAGES", "BYTES", "STATE"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("--subject", help="only this subject's")
    parser.add_argument("--sid", help="only this session's (the sid, or its digest as listed)")
    parser.add_argument("--policy", help="only those under this policy")
    parser.add_argument("--backend", help="only those at this backend")
    parser.add_argument("--json", action="store_true", help="print what the control API says")
    add_control_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print a table, or JSON; returns the exit status."""
    import json

    from wsguard.cli._control import Guard

    filters = {"subject": args.subject, "sid": args.sid, "policy": args.policy, "backend": args.backend}
    found = _all(Guard(args.control), filters)
    if args.json:
        print(json.dumps({"connections": found}, indent=2))
    else:
        print("\n".join(table([_COLUMNS, *map(_row, found)])))
    return 0


def _all(guard: Guard, filters: dict[str, str | None]) -> list[dict[str, Any]]:
    """Every page."""
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = guard.get("/v1/connections", {**filters, "limit": _PAGE, "cursor": cursor})
        found += page["connections"]
        cursor = page["cursor"]
        if cursor is None:
            return found


def _row(connection: dict[str, Any]) -> Sequence[str]:
    messages, transferred = connection["messages"], connection["bytes"]
    cells = (
        connection["id"],
        connection["stream"],
        connection["policy"],
        connection["subject"],
        connection["sid"],
        connection["clientIP"],
        connection["path"],
        connection["openedAt"],
        connection["expiresAt"],
        f"{messages['clientToBackend']}/{messages['backendToClient']}",
        f"{transferred['clientToBackend']}/{transferred['backendToClient']}",
        connection["state"],
    )
    return ["-" if cell is None else str(cell) for cell in cells]
