"""Columns side by side in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

WIDEST = 80
"""Characters of a cell; a subject may have hundreds."""


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A line for each of `rows`, which have equally many cells.

    What would not print is escaped here once more, whatever the version of the guard that sent it.
    """
    from wsguard.ops.redact import printable

    shown = [[_cut(printable(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _cut(text: str) -> str:
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"
