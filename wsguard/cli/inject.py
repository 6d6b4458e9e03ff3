"""`wsguard inject`: Kubernetes manifests in, the same with the sidecar out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HELP = "put the guard into Kubernetes manifests, or take it out again"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "-f", "--file", metavar="FILE", default="-", help="the manifests, YAML or JSON (default: standard input)"
    )
    parser.add_argument(
        "--uninject", action="store_true", help="take the guard out, and give back what was there before"
    )
    parser.add_argument("--diff", action="store_true", help="print what would change instead of the manifests")


def run(args: argparse.Namespace) -> int:
    """Exit status 0: printed. 2: problems, each on standard error, and nothing printed. Raises UsageError."""
    from wsguard.cli import UsageError
    from wsguard.kubernetes.inject import inject, uninject

    name = "<stdin>" if args.file == "-" else args.file
    try:
        data = sys.stdin.buffer.read() if args.file == "-" else Path(args.file).read_bytes()
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not UTF-8: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from None
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    text = text.removeprefix(mark)
    result = (uninject if args.uninject else inject)(text, name)
    for said in (*result.problems, *result.notes):
        print(said, file=sys.stderr)
    if result.problems:
        return 2
    out = _diff(text, result.text, name) if args.diff else mark + result.text
    sys.stdout.buffer.write(out.encode())  # as it came: the line breaks too
    sys.stdout.buffer.flush()
    return 0


def _diff(before: str, after: str, name: str) -> str:
    from difflib import unified_diff

    lines = unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), name, f"{name} (guarded)")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
