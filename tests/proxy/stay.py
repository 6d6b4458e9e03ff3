"""A client that stays while its backend comes and goes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.proxy.house import House
from tests.support import wire
from tests.support.backend import Conversation, RecordingBackend, accept, reply
from tests.support.client import RawClient, connect
from tests.support.garbage import nothing_is_left
from tests.support.waiting import eventually
from wsguard.policy.model import PolicySpec, Rejection
from wsguard.policy.model_hold import BackendLoss, Hold, Replay
from wsguard.protocol.bearing import HeldProtocol

HINT = b'{"type":"replaced"}'
"""What the client is told of another backend."""

REPLAY = Replay(messages=3, json_path="type", values=("subscribe",))
"""What another backend is told again."""


def holding(
    *, buffer: int = 65_536, give_up_after: float = 8.0, replay: Replay | None = REPLAY, **spec: object
) -> PolicySpec:
    """A policy that keeps a client whose backend is lost."""
    hold = Hold(
        protocol=HeldProtocol.CUSTOM, hint=HINT.decode(), buffer=buffer, give_up_after=give_up_after, replay=replay
    )
    rejection = Rejection(close_timeout=0.3)
    fields = {"backend_loss": BackendLoss.HOLD, "hold": hold, "rejection": rejection, **spec}
    return PolicySpec.model_validate(fields)


@dataclass
class Stay:
    """An open connection whose backend comes and goes."""

    house: House
    backend: RecordingBackend
    client: RawClient

    @property
    def state(self) -> str:
        (connection,) = self.house.registry
        return connection.link.state

    async def loses_its_backend(self, how: Callable[[Conversation], None] = Conversation.reset) -> None:
        """The backend goes, and answers 503 from now on."""
        self.backend.answer = reply(503)
        how(self.backend.conversations[-1])
        await eventually(lambda: self.state == "held", what="the client to be held")

    async def finds_another(self) -> Conversation:
        """The backend accepts again; its new conversation."""
        self.backend.answer = accept()
        await eventually(lambda: self.state == "open", what="the client to be open again")
        return self.backend.conversations[-1]


@asynccontextmanager
async def stay(
    backend: RecordingBackend, spec: PolicySpec | None = None, handshake: bytes = b""
) -> AsyncIterator[Stay]:
    """Open a connection that is held by `spec`."""
    async with nothing_is_left(), House(backend, spec or holding()) as house, connect(house.port) as client:
        await client.open(handshake or wire.upgrade(extensions="permessage-deflate"))
        await backend.conversation()
        await eventually(lambda: len(house.registry) == 1)
        yield Stay(house, backend, client)
