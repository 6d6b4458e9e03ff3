"""Moments of events, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def per_second(moments: Sequence[float], began: float = 0.0) -> list[int]:
    """How many of `moments` (in seconds) fall into each second from `began` on, up to the last that has any."""
    counts = Counter(int(moment - began) for moment in moments if moment >= began)
    return [counts[second] for second in range(max(counts, default=-1) + 1)]
