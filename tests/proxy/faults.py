"""Every stage of a connection's life, brought about with real sockets, and every way in which a peer can fail there.

The stages are the phases of `sessions.lifecycle`, and of its first one, the door, what a handshake waits for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from tests.proxy.first_message import GOOD, OneToken
from tests.proxy.first_message import spec as first_message_spec
from tests.proxy.house import House
from tests.proxy.tunnel import GRACE
from tests.support import wire
from tests.support.backend import Conversation, RecordingBackend, accept, raw, reply
from tests.support.client import RawClient, connect
from tests.support.waiting import eventually
from wsguard.policy.model import GuardSpec, KeepAlive, Listener, PolicySpec, Rejection
from wsguard.policy.model_hold import BackendLoss, Hold
from wsguard.protocol.bearing import HeldProtocol
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.lifecycle import Phase

HANDSHAKE_TIMEOUT = 0.5
STEP = 0.02
"""Seconds between two bytes of a slow peer."""

PINGS = KeepAlive(client_ping_interval=0.4, backend_ping_interval=0.4, timeout=0.4)
CLOSE = b"\x03\xe8"
GARBAGE = b"\xff\x00" * 40

Peer = RawClient | Conversation


@dataclass
class Scene:
    """Who is there. `client` or `far`, the backend's end, is None where that side has left or has not come yet."""

    house: House
    backend: RecordingBackend
    client: RawClient | None
    far: Conversation | None

    def peer(self, who: str) -> Peer | None:
        """The one that is to fail."""
        return self.client if who == "client" else self.far


Setting = Callable[[House, RecordingBackend, RawClient], Awaitable[Scene]]


async def reset(peer: Peer) -> None:
    """An RST: a crash."""
    peer.reset()


async def half_close(peer: Peer) -> None:
    """A FIN and no Close."""
    peer.writer.write_eof()


async def silence(peer: Peer) -> None:
    """Nothing at all: neither a word, nor is a byte read any more."""
    if isinstance(peer, Conversation):
        peer.stop_reading()


async def garbage(peer: Peer) -> None:
    """Bytes that are neither HTTP nor frames."""
    with suppress(ConnectionError):
        peer.writer.write(GARBAGE)
        await peer.writer.drain()


async def slow(peer: Peer) -> None:
    """A byte now and then: of what would come next where that is a Close, else of a frame that never ends."""
    masked = isinstance(peer, RawClient)
    with suppress(ConnectionError):
        for byte in wire.frame(wire.BINARY, bytes(60), masked=masked, declared=10_000):
            if peer.writer.is_closing():
                return
            peer.writer.write(bytes((byte,)))
            await asyncio.sleep(STEP)


FAULTS: dict[str, Callable[[Peer], Awaitable[None]]] = {
    "reset": reset,
    "half-close": half_close,
    "silence": silence,
    "garbage": garbage,
    "slow": slow,
}


async def _half_a_head(house: House, backend: RecordingBackend, client: RawClient) -> Scene:
    await client.send(wire.upgrade()[:60])
    return Scene(house, backend, client, None)


async def _dialled(house: House, backend: RecordingBackend, client: RawClient) -> Scene:
    backend.answer = raw(b"", close=False)
    await client.send(wire.upgrade())
    return Scene(house, backend, client, await backend.conversation())


async def _half_an_answer(house: House, backend: RecordingBackend, client: RawClient) -> Scene:
    backend.answer = raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: webs", close=False)
    await client.send(wire.upgrade())
    return Scene(house, backend, client, await backend.conversation())


async def _awaited_message(house: House, backend: RecordingBackend, client: RawClient) -> Scene:
    await client.open(wire.upgrade())
    await eventually(lambda: len(house.lobby), what="a client in the lobby")
    return Scene(house, backend, client, None)


async def _refused(house: House, backend: RecordingBackend, client: RawClient) -> Scene:
    house.draining = True
    await client.open(wire.upgrade())
    assert (await client.frame()).opcode == wire.CLOSE
    return Scene(house, backend, client, None)


async def _open(house: House, backend: RecordingBackend, client: RawClient) -> Scene:
    await client.open(wire.upgrade())
    return Scene(house, backend, client, await backend.conversation())


async def _mid_frames(house: House, backend: RecordingBackend, client: RawClient) -> Scene:
    """Open, each side in the middle of a frame of its own."""
    scene = await _open(house, backend, client)
    assert scene.far is not None
    await client.send(wire.frame(wire.BINARY, b"abc", declared=50_000))
    await scene.far.send(wire.frame(wire.BINARY, b"abc", declared=50_000, masked=False))
    await eventually(lambda: scene.far is not None and b"\xfe\xc3\x50" in scene.far.tail, what="the frame's beginning")
    return scene


async def _client_closing(house: House, backend: RecordingBackend, client: RawClient) -> Scene:
    scene = await _open(house, backend, client)
    await client.send(wire.frame(wire.CLOSE, CLOSE))
    return await _in(scene, Phase.CLIENT_CLOSING)


async def _backend_closing(house: House, backend: RecordingBackend, client: RawClient) -> Scene:
    scene = await _open(house, backend, client)
    assert scene.far is not None
    await scene.far.send(wire.frame(wire.CLOSE, CLOSE, masked=False))
    return await _in(scene, Phase.BACKEND_CLOSING)


async def _half_closed(house: House, backend: RecordingBackend, client: RawClient) -> Scene:
    scene = await _open(house, backend, client)
    backend.keeps_half_open = True
    client.half_close()
    return await _in(scene, Phase.HALF_CLOSED)


async def _closing(house: House, backend: RecordingBackend, client: RawClient) -> Scene:
    scene = await _open(house, backend, client)
    _cut(house)
    return await _in(scene, Phase.CLOSING)


async def _client_left(house: House, backend: RecordingBackend, client: RawClient) -> Scene:
    scene = await _open(house, backend, client)
    assert scene.far is not None
    scene.far.reset()
    scene.far = None
    return await _in(scene, Phase.CLIENT_LEFT)


async def _backend_left(house: House, backend: RecordingBackend, client: RawClient) -> Scene:
    scene = await _open(house, backend, client)
    backend.keeps_half_open = True
    client.reset()
    scene.client = None
    return await _in(scene, Phase.BACKEND_LEFT)


async def _held(house: House, backend: RecordingBackend, client: RawClient) -> Scene:
    """The backend is away, and the client waits for the next one."""
    scene = await _open(house, backend, client)
    assert scene.far is not None
    backend.answer = reply(503)
    scene.far.reset()
    scene.far = None
    return await _in(scene, Phase.HELD)


async def _redialled(house: House, backend: RecordingBackend, client: RawClient) -> Scene:
    """The same, and the next one has been asked but has not answered."""
    scene = await _open(house, backend, client)
    assert scene.far is not None
    backend.answer = raw(b"", close=False)
    scene.far.reset()
    await eventually(lambda: len(backend.upgrades) == 2, what="a second dial")
    scene.far = backend.conversations[-1]
    return await _in(scene, Phase.HELD)


def _cut(house: House) -> None:
    for connection in tuple(house.registry):
        connection.link.cut(CloseReason.SESSION_EXPIRED)


async def _in(scene: Scene, phase: Phase) -> Scene:
    await eventually(lambda: {c.link.state for c in scene.house.registry} == {phase.value}, what=phase.value)
    return scene


STAGES: dict[str, tuple[Phase, Setting]] = {
    "half-a-head": (Phase.DOOR, _half_a_head),
    "dialled": (Phase.DOOR, _dialled),
    "half-an-answer": (Phase.DOOR, _half_an_answer),
    "awaited-message": (Phase.DOOR, _awaited_message),
    "open": (Phase.OPEN, _open),
    "mid-frames": (Phase.OPEN, _mid_frames),
    "held": (Phase.HELD, _held),
    "redialled": (Phase.HELD, _redialled),
    "client-closing": (Phase.CLIENT_CLOSING, _client_closing),
    "backend-closing": (Phase.BACKEND_CLOSING, _backend_closing),
    "half-closed": (Phase.HALF_CLOSED, _half_closed),
    "closing": (Phase.CLOSING, _closing),
    "refused": (Phase.CLIENT_LEFT, _refused),
    "client-left": (Phase.CLIENT_LEFT, _client_left),
    "backend-left": (Phase.BACKEND_LEFT, _backend_left),
}

ABSENT = {
    "backend": {"half-a-head", "awaited-message", "refused", "client-left", "held"},
    "client": {"backend-left"},
}
"""Where a side cannot fail, because it has not come yet, or is gone."""

_SPEAKS = ("half-close", "garbage", "slow")


def cannot_happen(stage: str, who: str, how: str) -> bool:
    """Whether nobody is there to fail, or has said already that nothing more will follow."""
    return stage in ABSENT[who] or (stage == "half-closed" and who == "client" and how in _SPEAKS)


@asynccontextmanager
async def scene(stage: str) -> AsyncIterator[Scene]:
    """A guard of its own with one connection in `stage`; at the end it must hold nothing any more."""
    is_awaited = stage == "awaited-message"
    rejection = Rejection(close_timeout=GRACE)
    spec = PolicySpec(rejection=rejection, keep_alive=PINGS)
    if is_awaited:
        spec = first_message_spec(0.5)
    elif STAGES[stage][0] is Phase.HELD:
        hold = Hold(protocol=HeldProtocol.CUSTOM, hint="{}", give_up_after=2.0)
        spec = PolicySpec(rejection=rejection, backend_loss=BackendLoss.HOLD, hold=hold)
    guard = GuardSpec(listener=Listener(handshake_timeout=HANDSHAKE_TIMEOUT))
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(RecordingBackend(accept()))
        house = await stack.enter_async_context(House(backend, spec, guard))
        house.env.verifier = OneToken() if is_awaited else house.env.verifier
        client = await stack.enter_async_context(connect(house.port))
        made = await STAGES[stage][1](house, backend, client)
        yield made
        for peer in (made.client, made.far):
            if peer is not None:
                peer.writer.transport.abort()


async def works(house: House, backend: RecordingBackend) -> None:
    """The guard goes on: another client is let in as if nothing had been."""
    backend.answer, backend.keeps_half_open = accept(echo=True), False
    house.draining = False
    async with connect(house.port) as client:
        await client.open(wire.upgrade(fields=[("Cookie", f"session={GOOD}")] if house.spec.jwt else ()))
        await client.send(wire.frame(wire.TEXT, b"still here"))
        assert (await client.frame()).payload == b"still here"
        await client.send(wire.frame(wire.CLOSE, CLOSE))
        await client.rest()
