"""Hears what a client says to its backend, and says again to another one what its policy calls safe to repeat.

Where the policy repeats nothing there is no recorder, and nothing of this costs anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

from wsguard.protocol.replay import Recorder
from wsguard.proxy.greeting import greet
from wsguard.proxy.half import Half
from wsguard.proxy.held import Overheard


class Replayer:
    """Of one client. `recorder` keeps what is to be said again; None: nothing is."""

    __slots__ = ("_ear", "_recorder")

    def __init__(self, recorder: Recorder | None) -> None:
        self._recorder = recorder
        self._ear: Overheard | None = None

    @property
    def problem(self) -> str | None:
        """Why what was kept is not all that belongs together; None: it is."""
        return None if self._recorder is None else self._recorder.problem

    @property
    def messages(self) -> Sequence[bytes]:
        """What is to be said again, whole messages; a greeting is said before."""
        return () if self._recorder is None else self._recorder.messages

    @property
    def greeting(self) -> bytes:
        """What is said first of all, and answered before the rest; or nothing."""
        return b"" if self._recorder is None else self._recorder.greeting

    def listen(self, backend: Half) -> None:
        """Hear what goes to `backend` from now on, as long as that can matter."""
        if self._recorder is not None and not self._recorder.is_done:
            self._ear = Overheard(backend, self._recorder)
            backend.transport = cast("asyncio.Transport", self._ear)

    def stop(self) -> None:
        """Hear no more."""
        ear, self._ear = self._ear, None
        if ear is not None:
            ear.leave()

    def begin_anew(self) -> None:
        """The backend is lost: the message under way to it has not reached anybody."""
        self.stop()
        if self._recorder is not None:
            self._recorder.begin_anew()

    async def greet(
        self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, early: bytes, timeout: float
    ) -> tuple[bytes, bytes]:
        """Say the greeting; `early` has come behind the 101. Returns its answer (b"": none was due), and what follows.

        Raises Unwelcome, and OSError or TimeoutError where there is no answer.
        """
        if not self.greeting:
            return b"", early
        return await greet(loop, transport, early, self.greeting, timeout)
