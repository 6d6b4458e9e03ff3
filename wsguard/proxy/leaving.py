"""Requests whose client left before the backend had answered; of some the answer is waited for all the same.

A log-out counts by its answer, and who logs out often leaves at once: a tab is closed, a page goes on to the next one.
The application ends the session whoever is there to read of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from aiohttp import ClientError, ClientResponse

from wsguard.policy.effective import Effective
from wsguard.policy.logout_detection import Exchange
from wsguard.protocol.hop_by_hop import end_to_end
from wsguard.protocol.http import SAFE_METHODS, Headers, RequestHead
from wsguard.proxy.environment import Environment
from wsguard.tracebacks import forget_cancellation, forget_traceback

PATIENCE = 10.0
"""Seconds that a backend has for an answer that nobody else waits for."""

MOST = 1_000
"""Requests that are seen out at once; that of any further client ends when its client leaves."""


class SeeingOut:
    """Waits for answers on behalf of the session watch. Close it at the end."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many requests are being seen out."""
        return len(self._tasks)

    async def close(self) -> None:
        """Wait no longer."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def answer(
        self, asking: Coroutine[Any, Any, ClientResponse], head: RequestHead, effective: Effective
    ) -> ClientResponse:
        """What `asking` comes to. Where who waits for it is cancelled, it ends as well, or is seen out."""
        watch = self._env.session_watch
        if watch is None or not _may_log_out(head) or not watch.concerns(head, effective):
            return await asking
        task = asyncio.create_task(_run(asking))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if len(self._tasks) < MOST:
                seeing_out = asyncio.create_task(self._see_out(task, head, effective))
                self._tasks.add(seeing_out)
                seeing_out.add_done_callback(self._tasks.discard)
            else:
                task.add_done_callback(forget_cancellation)
                task.cancel()
            raise

    async def _see_out(self, asking: asyncio.Task[ClientResponse], head: RequestHead, effective: Effective) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await asking
        except (TimeoutError, ClientError, OSError) as error:
            forget_traceback(error)
            return  # nothing was said; of a body that never came whole, for one
        answer.close()  # its body is nobody's
        if self._env.session_watch is not None:
            headers = end_to_end(Headers(answer.raw_headers))
            self._env.session_watch.notice(Exchange(head, effective, answer.status, headers))


async def _run(asking: Coroutine[Any, Any, ClientResponse]) -> ClientResponse:
    return await asking  # what aiohttp wraps it in keeps, as a task of its own, what it is cancelled with


def _may_log_out(head: RequestHead) -> bool:
    """Whether people log out like this: with a button or a link. What a page reads by itself is as good as unasked."""
    return head.method not in SAFE_METHODS or head.headers.tokens(b"sec-fetch-mode") == [b"navigate"]
