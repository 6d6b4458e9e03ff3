"""What the demonstration prints: plain lines, coloured only where a person looks (NO_COLOR is honoured)."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

_BOLD, _DIM, _RED, _GREEN = "1", "2", "31", "32"


@dataclass(frozen=True, slots=True)
class Observation:
    """One step of the story: what had to be seen, and what was."""

    step: str
    expected: str
    observed: str

    @property
    def holds(self) -> bool:
        """True where the two are the same words."""
        return self.expected == self.observed


class Terminal:
    """Prints to `out` (default: standard output)."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._color = self._out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def title(self, text: str) -> None:
        """A line that begins something."""
        self._print("\n" + self._paint(_BOLD, text))

    def line(self, text: str = "") -> None:
        """A line of the telling."""
        self._print(f"   {text}".rstrip())

    def aside(self, text: str) -> None:
        """A line that may be skipped."""
        self._print("   " + self._paint(_DIM, text))

    def verdict(self, seen: Observation) -> None:
        """How a step came out."""
        if seen.holds:
            self._print("   " + self._paint(_GREEN, f"= {seen.observed}"))
        else:
            self._print("   " + self._paint(_RED, f"! {seen.observed}") + f", expected {seen.expected}")

    def table(self, observations: Sequence[Observation]) -> None:
        """Expected beside observed, a row a step."""
        rows = [("step", "expected", "observed", "")]
        rows += [(seen.step, seen.expected, seen.observed, "ok" if seen.holds else "MISSING") for seen in observations]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        self._print("")
        for number, row in enumerate(rows):
            text = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + "  " + row[3]
            color = _DIM if number == 0 else _GREEN if row[3] == "ok" else _RED
            self._print("   " + self._paint(color, text.rstrip()))

    def _paint(self, color: str, text: str) -> str:
        return f"\x1b[{color}m{text}\x1b[0m" if self._color else text

    def _print(self, text: str) -> None:
        print(text, file=self._out, flush=True)
