"""The command line: one file a command, found by name.

A command's module has `HELP` (a line), `configure(parser)` and `run(args) -> int` (the exit status). What is heavy is
imported inside `run`, so that `wsguard --help` and the hooks that exec a command answer at once.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Sequence

from wsguard import __version__

COMMANDS: tuple[str, ...] = (
    "check",
    "connections",
    "demo",
    "drain",
    "explain",
    "inject",
    "logout",
    "migrate",
    "report",
    "run",
    "schema",
    "test",
    "top",
)


class UsageError(Exception):
    """A command was used wrongly: the sentence is printed and the exit status is 2."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status (0 done, 1 found something, 2 bad usage or bad policy)."""
    args = _parser().parse_args(argv)
    command = importlib.import_module(f"wsguard.cli.{args.command}")
    try:
        status: int = command.run(args)
        print(end="", flush=True)  # what cannot be written is told of here, and not by the interpreter at its end
    except UsageError as error:
        print(f"wsguard {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `wsguard connections | head`
        _write_no_more()
        return 0
    except OSError as error:
        if not _has_lost_its_output():
            raise
        _write_no_more()
        print(f"wsguard {args.command}: standard output cannot be written: {error.strerror}", file=sys.stderr)
        return 2
    return status


def _has_lost_its_output() -> bool:
    """Whether an error was that of writing: an OSError does not tell of what."""
    try:
        print(flush=True)
    except OSError:
        return True
    return False


def _write_no_more() -> None:
    """Let go what is still buffered, or the interpreter would try once more at its end, and complain."""
    with contextlib.suppress(OSError):  # none, or one without a descriptor
        descriptor = sys.stdout.fileno()
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), descriptor)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="wsguard", description="Guards an existing WebSocket backend from outside.")
    parser.add_argument("--version", action="version", version=f"wsguard {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"wsguard.cli.{name}")
        module.configure(commands.add_parser(name, help=module.HELP, description=module.HELP))
    return parser
