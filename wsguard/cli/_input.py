"""What a command is told on standard input, which may hold any bytes."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Literal, TextIO


def standard_input(errors: Literal["strict", "replace", "surrogateescape"]) -> TextIO:
    """Standard input as UTF-8, whatever the locale. What is none is replaced, kept as it was for
    the wire, or raises UnicodeDecodeError when it is read."""
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors=errors)
    return sys.stdin
