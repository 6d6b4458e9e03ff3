"""Arguments that several commands share. Light: every command's arguments are set up whichever is run."""

from __future__ import annotations

import argparse
import os

from wsguard.ops.control_path import VARIABLE


def add_control_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--control`."""
    parser.add_argument(
        "--control",
        metavar="SOCKET",
        default=os.environ.get(VARIABLE),
        help=f"the guard's control socket (environment: {VARIABLE}; default: where `wsguard run` puts it)",
    )
