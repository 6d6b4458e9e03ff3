"""`wsguard check`: every problem with policy files at once, one a line, as compilers print them."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

HELP = "check policy files: every problem at once, with file, line and column"


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of `wsguard check`."""
    parser.add_argument("paths", nargs="+", metavar="PATH", type=Path, help="a policy file, or a folder of them")


def run(args: argparse.Namespace) -> int:
    """Exit status 0: usable, perhaps with warnings. 1: errors. 2: a PATH that does not exist."""
    from wsguard.cli import UsageError
    from wsguard.config.store import examine
    from wsguard.policy.problems import Severity

    for path in args.paths:
        if _is_absent(path):
            raise UsageError(f"there is no file or folder {path}")
    examined = examine(args.paths)
    # The keys may exist only where the guard runs.
    absent = [replace(problem, severity=Severity.WARNING) for problem in examined.named.absent]
    problems = (*examined.problems, *absent)
    for problem in problems:
        print(problem)
    errors = sum(problem.severity is Severity.ERROR for problem in problems)
    print(_summary(len(examined.sources), errors, len(problems) - errors))
    return 1 if errors else 0


def _is_absent(path: Path) -> bool:
    """False where nobody may look, too: reading it says why."""
    try:
        path.stat()
    except OSError as error:
        return isinstance(error, FileNotFoundError)
    return False


def _summary(files: int, errors: int, warnings: int) -> str:
    return f"{_count(files, 'file')}: {_count(errors, 'error')}, {_count(warnings, 'warning')}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
