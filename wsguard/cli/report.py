"""`wsguard report`: from the audit trail, what Enforce would have refused and cut, and what was."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HELP = "sum up the audit trail: what Enforce would have refused, what was refused, and from where"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="a guard's log or audit file; - or none: standard input"
    )
    parser.add_argument("--since", metavar="DURATION", help="only the last 1h, say (default: everything)")
    parser.add_argument("--json", action="store_true", help="print it as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Exit status 0, whatever was found. Raises UsageError."""
    import json
    import time

    from wsguard.cli import UsageError
    from wsguard.cli._audit_trail import read
    from wsguard.cli._input import standard_input
    from wsguard.cli._tally import Tally, as_json
    from wsguard.policy.fields import parse_duration

    try:
        since = 0.0 if args.since is None else time.time() - parse_duration(args.since)
    except ValueError as error:
        raise UsageError(f"--since: {error}") from None
    tally = Tally()
    for name in args.files or ["-"]:
        try:
            if name == "-":
                tally.add(read(standard_input("replace")), since)  # a collector may have cut a character
                continue
            with Path(name).open(encoding="utf-8", errors="replace") as lines:
                tally.add(read(lines), since)
        except OSError as error:
            raise UsageError(f"{name} cannot be read: {error.strerror}") from None
    print(json.dumps(as_json(tally), indent=2) if args.json else "\n".join(tally.lines()))
    if tally.foreign:
        print(f"{tally.foreign} lines are no guard's, and were left out", file=sys.stderr)
    return 0
