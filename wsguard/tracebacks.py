"""Exceptions that are kept, and the frames that they keep.

What aiohttp gives to whoever waits it remembers as well: on a reader, on a protocol. Raised, it holds each frame that
it came through, and one of these holds the reader: a cycle, with whatever was not read yet, and the collector is called
seldom (`process.calm_the_collector`).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any


def forget_traceback(error: BaseException | None) -> None:
    """Make `error`, and whatever it came of, hold no frame. What they say stays."""
    known, left = set(), [error]
    while left:
        each = left.pop()
        if each is not None and id(each) not in known:  # a chain may end in a ring
            known.add(id(each))
            each.__traceback__ = None
            left += (each.__cause__, each.__context__)  # which may be two


def forget_cancellation(task: asyncio.Task[Any]) -> None:
    """Call it back with a task that nobody waits for: what cancelled it is kept until somebody asks."""
    if task.cancelled():
        with suppress(asyncio.CancelledError):
            task.exception()
