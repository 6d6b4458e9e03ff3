"""What one guard carries, as Markdown, from the figures of the last benchmark."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

_FIGURES = Path(__file__).parents[1] / "benchmarks/results/latest.json"


def sizing() -> str:
    """A row a kind of work: what a core does of it in a second, what a connection takes. Figures are rounded down."""
    figures = json.loads(_FIGURES.read_text("utf-8"))["figures"]

    def cost(workload: str) -> float:
        return float(median(figures[workload]["wsguard"]))

    rows = [
        ("handshakes with Origin and JWT, each with one message and a Close", 1 / cost("handshake/16")),
        ("messages of 64 B, there and back, one at a time", 1 / cost("relay/64/1")),
        ("messages of 64 B, there and back, 16 under way on each connection", 1 / cost("relay/64/16")),
        ("messages of 16 KiB, there and back, one at a time", 1 / cost("relay/16384/1")),
        ("messages of 256 KiB, there and back, one at a time", 1 / cost("relay/262144/1")),
    ]
    lines = [f"| {what} | {_rounded(number):,} |" for what, number in rows]
    lines.append(f"| idle connections in 100 MB of memory | {_rounded(100e6 / cost('memory')):,} |")
    return "\n".join(["| in a second of a core | some |", "| --- | ---: |", *lines]) + "\n"


def _rounded(number: float) -> int:
    """Down to one digit, or to two where it begins with 1: what a machine of another make will not contradict."""
    digits = len(str(int(number)))
    step = 10 ** (digits - (2 if str(int(number)).startswith("1") else 1))
    return int(number // step * step)
