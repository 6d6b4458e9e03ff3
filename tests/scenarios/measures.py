"""What is measured of a guard and of those who leave it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.support.guard import Guard

PER_DIRECTION = 384 * 1024
"""Bytes of user-space buffer that one direction of one connection may take."""


def resident(guard: Guard) -> int:
    """The guard's resident memory in bytes."""
    pages = Path(f"/proc/{guard.program.pid}/statm").read_text().split()[1]
    return int(pages) * 4096


def peak(moments: Sequence[float]) -> int:
    """The most in one second, wherever it begins on a tenth of one."""
    tenths = Counter(int(moment * 10) for moment in moments)
    return max(sum(tenths[first + tenth] for tenth in range(10)) for first in tenths)
