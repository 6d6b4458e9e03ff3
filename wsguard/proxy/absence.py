"""One time without a backend, for a client that is held: from parting with one to the record of another."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field

from wsguard.protocol.closing import close_frame
from wsguard.proxy.half import Half
from wsguard.proxy.held import Held
from wsguard.proxy.pair import Pair
from wsguard.sessions.connection import Connection
from wsguard.sessions.records import Rejoined


@dataclass(slots=True)
class Absence:
    """It `began` then (monotonic seconds). `last_problem` is why it lasts."""

    began: float
    held: Held
    deadline: asyncio.TimerHandle = field(repr=False)
    attempts: int = 0
    last_problem: str = "none was dialled"

    @property
    def why(self) -> str:
        """What was tried, and what came of it last."""
        tries = f"{self.attempts} redials" if self.attempts != 1 else "one redial"
        return f"{tries}: {self.last_problem}"

    def over(self, connection: Connection, now: float, repeated: int, kept: int) -> Rejoined:
        """The record of its end: so many messages were said again to the next backend, and so many had been kept."""
        return Rejoined(
            connection_id=connection.id,
            policy=connection.policy,
            backend=connection.backend,
            duration=now - self.began,
            attempts=self.attempts,
            repeated=repeated,
            kept=kept,
            lost=int(self.held.mailbox.has_lost),
        )


def part(pair: Pair, loop: asyncio.AbstractEventLoop, grace: float) -> Half:
    """Leave the backend that is lost, politely where it said Close. Returns the half of nobody that stands for it now.

    A Close of its own is answered, unless a frame of the client's is under way to it; it has `grace` seconds to go.
    """
    client = pair.client
    assert client is not None  # else the splice has not been open
    gone, vacant = pair.vacate()
    transport = gone.transport
    if not gone.lost and not transport.is_closing():
        transport.set_protocol(asyncio.Protocol())
        if gone.scanner.withheld and not client.scanner.left:
            code = gone.scanner.withheld[2:4]
            transport.write(close_frame(int.from_bytes(code, "big"), "", mask=os.urandom(4)))
        transport.close()
        loop.call_later(grace, transport.abort)
    gone.lost = True  # whatever still happens to it is nobody's affair
    return vacant
