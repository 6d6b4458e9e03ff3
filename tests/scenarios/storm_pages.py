"""Who has a session in a storm, and the pages that keep a socket open for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from websockets.exceptions import InvalidHandshake

from tests.scenarios.replicas import Socket, token_of
from tests.support.guard import Guard


@dataclass(eq=False)
class Session:
    """What the model knows. `told_at` is monotonic seconds, and `told_to` the guard that heard of it then."""

    subject: str
    sid: str
    jti: str
    issued_at: int
    told_at: float | None = None
    told_to: int | None = None
    token: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.token = token_of(self.subject, sid=self.sid, jti=self.jti, iat=self.issued_at)


class Client:
    """A page that keeps a socket open for its session, at whichever guard answers, until it is told to log in."""

    def __init__(self, session: Session, guards: Sequence[Guard], place: int) -> None:
        self.session = session
        self.place = place
        self.is_open = False
        self.ended_at: float | None = None
        self.surprises: list[str] = []
        self._guards = guards
        self._socket: Socket | None = None

    async def run(self, ended: Callable[[Client], None]) -> None:
        """Open, and open again, until the Close says `logged-out`."""
        while self.ended_at is None:
            socket = Socket(self._guards[self.place], self.session.token)
            with suppress(OSError, InvalidHandshake, TimeoutError):
                self._socket = await socket.open()
                self.is_open = True
                code, reason = await socket.end(None)
                self.is_open = False
                if reason == "logged-out":
                    self.ended_at = time.monotonic()
                    ended(self)
                elif reason not in ("", "identity-unavailable"):  # a guard died, or is reading the stream back
                    self.surprises.append(f"{code} {reason}")
            if self.ended_at is None:
                self.place = (self.place + 1) % len(self._guards)
                await asyncio.sleep(0.1)

    async def leave(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            await self._socket.close()
