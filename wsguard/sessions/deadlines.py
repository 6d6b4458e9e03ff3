"""At most one deadline a connection, on whichever clock the owner keeps, found without a timer each.

One ticker that asks `pop_due` costs the same for ten connections as for ten thousand, and notices a clock
that jumped.
"""

from __future__ import annotations

import heapq
import math

_SLACK = 64
"""Outdated heap entries that are tolerated before the heap is rebuilt, beyond one for each live deadline."""


class Deadlines:
    """Deadlines by id. One that is moved or discarded leaves its old heap entry behind, skipped later."""

    def __init__(self) -> None:
        self._when: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._when)

    def set(self, connection_id: str, when: float) -> None:
        """Arm or move the deadline of `connection_id`."""
        if self._when.get(connection_id) == when:
            return
        self._when[connection_id] = when
        heapq.heappush(self._heap, (when, connection_id))
        self._compact()

    def discard(self, connection_id: str) -> None:
        """Disarm the deadline of `connection_id`, if it has one."""
        if self._when.pop(connection_id, None) is not None:
            self._compact()

    def pop_due(self, now: float, most: float = math.inf) -> list[str]:
        """Disarm and return `most` ids whose deadline is at or before `now`, the earliest first."""
        due: list[str] = []
        while self._heap and self._heap[0][0] <= now and len(due) < most:
            when, connection_id = heapq.heappop(self._heap)
            if self._when.get(connection_id) == when:
                del self._when[connection_id]
                due.append(connection_id)
        return due

    def _compact(self) -> None:
        if len(self._heap) > 2 * len(self._when) + _SLACK:
            self._heap = [(when, connection_id) for connection_id, when in self._when.items()]
            heapq.heapify(self._heap)
