"""`wsguard schema`: the policy language as JSON Schema."""

from __future__ import annotations

import argparse
import json

HELP = "print the JSON Schema of policy files, for editors"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "kind", nargs="?", metavar="KIND", help="WebSocketPolicy, GuardConfig or PolicyTest (default: all)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the schema; returns the exit status. Raises UsageError for an unknown KIND."""
    from wsguard.cli import UsageError
    from wsguard.policy.schema import KINDS, json_schema

    if args.kind is not None and args.kind not in KINDS:
        raise UsageError(f"KIND is {' or '.join(KINDS)}, not {args.kind!r}")
    print(json.dumps(json_schema(args.kind), indent=2, ensure_ascii=False))
    return 0
