"""What a replica tells the others of its counts, and when again.

Law: what has changed is told soon, and everything again in turn, so that whoever missed a message, or was not there,
knows it before long. A batch has a bound, and so has what is told at all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice

from wsguard.sessions.census import Census, Key
from wsguard.sessions.counts import MAX_KEYS, Counts, digest

ROUND = 5
"""Beats in which everything is told again."""

MAX_MESSAGES = 5
"""Messages of one batch."""

MAX_TOLD = 20_000
"""Rooms that are told; those beyond are known to this replica alone."""

_MAX_BATCH = MAX_KEYS * MAX_MESSAGES
_MAX_AGAIN = MAX_TOLD // ROUND  # of each batch something is left for what has changed


class Telling:
    """Keeps what of `census` was told on the channel of `topic` in the name of `replica`."""

    def __init__(self, census: Census, replica: str, topic: str) -> None:
        self._census = census
        self._replica = replica
        self._topic = topic
        self._told: dict[Key, tuple[str, int]] = {}
        self._changed: dict[Key, None] = {}
        self._left_out: dict[Key, None] = {}
        self._again: deque[Key] = deque()  # the rest of this round
        self._hurried = 0  # rounds that are told as fast as batches allow

    @property
    def left_out(self) -> int:
        """Rooms for which there is no place among those that are told."""
        return len(self._left_out)

    @property
    def has_news(self) -> bool:
        """Whether a batch that is no beat may have something in it."""
        return bool(self._changed)

    def change(self, keys: Iterable[Key]) -> None:
        """The counts of these rooms may have changed."""
        self._changed.update(dict.fromkeys(keys))

    def begin(self) -> None:
        """The channel is there, perhaps again: whatever was not noticed meanwhile has changed, and nobody knows it."""
        self._left_out.clear()
        self._changed = dict.fromkeys((*self._told, *self._census.keys()))
        self.start_over()

    def start_over(self) -> None:
        """Somebody has heard nothing yet: end this round and tell another, in a hurry."""
        self._hurried = 2

    def batch(self, *, is_beat: bool) -> list[Counts]:
        """What is to be said now. A beat is one message at least: it says that this replica lives."""
        counts: dict[str, int] = {}
        if is_beat:
            self._take_in()
            self._repeat(counts)
        self._tell(counts)
        if not counts:
            return [Counts(self._replica, {})] if is_beat else []
        pairs = list(counts.items())
        parts = (pairs[start : start + MAX_KEYS] for start in range(0, len(pairs), MAX_KEYS))
        return [Counts(self._replica, dict(part)) for part in parts]

    def farewell(self) -> Counts:
        """The last that is said."""
        return Counts(self._replica, {}, leaves=True)

    def _repeat(self, counts: dict[str, int]) -> None:
        share = _MAX_AGAIN if self._hurried else -(-len(self._told) // ROUND)
        for _ in range(2):  # the rest of a round, and the next one's beginning
            while self._again and len(counts) < share:
                told = self._told.get(self._again.popleft())
                if told is not None:
                    counts[told[0]] = told[1]
            if self._again:
                return
            self._again = deque(self._told)
            self._hurried = max(self._hurried - 1, 0)

    def _tell(self, counts: dict[str, int]) -> None:
        changed = iter(self._changed)
        while len(counts) < _MAX_BATCH and (key := next(changed, None)) is not None:
            count, told = self._census.count(key), self._told.get(key)
            self._left_out.pop(key, None)
            if count == (0 if told is None else told[1]):
                continue
            if told is None and len(self._told) >= MAX_TOLD:
                self._left_out[key] = None
                continue
            name = digest(key, self._topic) if told is None else told[0]
            counts[name] = count
            if count:
                self._told[key] = (name, count)
            else:
                del self._told[key]
        self._changed = dict.fromkeys(changed)

    def _take_in(self) -> None:
        """Those that were left out are told now, as far as there is a place for them."""
        self.change(list(islice(self._left_out, MAX_TOLD - len(self._told))))
