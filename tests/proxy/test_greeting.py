"""graphql-ws at a new backend: it welcomes before it is asked for anything, and the client hears of that once."""

from __future__ import annotations

import asyncio

import pytest

from tests.proxy.closes import close_of
from tests.proxy.house import House
from tests.proxy.stay import Stay, stay
from tests.proxy.tunnel import down, up
from tests.support import wire
from tests.support.backend import Answer, Conversation, RecordingBackend, accept, switching
from tests.support.wire import Head
from wsguard.policy.model import PolicySpec, Rejection
from wsguard.policy.model_hold import BackendLoss, Hold, Replay
from wsguard.protocol.bearing import HINT, HeldProtocol

LOOPS = ("uvloop",)
PROTOCOL = "graphql-transport-ws"
INIT, ACK = b'{"type":"connection_init"}', b'{"type":"connection_ack"}'
SUBSCRIBE = b'{"type":"subscribe","id":"1","payload":{"query":"subscription { ticks }"}}'
QUERY = b'{"type":"subscribe","id":"2","payload":{"query":"{ hello }"}}'
SPEC = PolicySpec(
    backend_loss=BackendLoss.HOLD,
    hold=Hold(protocol=HeldProtocol.GRAPHQL_WS, replay=Replay(messages=3), give_up_after=2.0),
    rejection=Rejection(close_timeout=0.3),
)


def answering(*frames: bytes, at_once: bytes = b"", end: bool = False) -> Answer:
    """Accept with `at_once` behind the 101, wait for one message, and say each of `frames` in a piece of its own."""

    async def answer(conversation: Conversation, head: Head) -> None:
        await conversation.send(switching(head, PROTOCOL) + at_once)
        while wire.take_frame(bytearray(conversation.tail)) is None:
            if not await conversation.receive():
                return
        for frame in frames:
            await conversation.send(frame)
            await asyncio.sleep(0.01)
        if end:
            conversation.close()
        while await conversation.receive():
            pass

    return answer


def client_of(backend: RecordingBackend) -> tuple[RecordingBackend, PolicySpec, bytes]:
    backend.answer = accept(PROTOCOL)
    return backend, SPEC, wire.upgrade(subprotocols=PROTOCOL)


async def acknowledged(held: Stay, *more: bytes) -> None:
    far = held.backend.conversations[-1]
    await held.client.send(up(INIT))
    assert (await far.frame()).payload == INIT
    await far.send(down(ACK))
    assert (await held.client.frame()).payload == ACK
    for message in more:
        await held.client.send(up(message))
        assert (await far.frame()).payload == message


SPLIT = down(ACK)
WELCOMES = {
    "whole": ((SPLIT + down(b"news"),), b""),
    "byte by byte": ((*(SPLIT[at : at + 1] for at in range(len(SPLIT))), down(b"news")), b""),
    "behind pings": ((down(b"", opcode=wire.PING), down(b'{"type":"ping"}') + SPLIT, down(b"news")), b""),
    "before it is asked": ((down(b"news"),), SPLIT),
}


@pytest.mark.parametrize("how", WELCOMES)
async def test_it_is_welcomed_before_it_subscribes(backend: RecordingBackend, how: str) -> None:
    frames, at_once = WELCOMES[how]
    async with stay(*client_of(backend)) as held:
        await acknowledged(held, QUERY, SUBSCRIBE)
        await held.loses_its_backend()
        await held.client.send(up(b'{"type":"pong"}'))
        backend.answer = answering(*frames, at_once=at_once)
        heard = [(await held.client.frame()).payload for _ in range(2)]
        assert heard == [HINT.encode(), b"news"], "its own connection_ack is not said twice"
        far = backend.conversations[-1]
        assert [(await far.frame()).payload for _ in range(3)] == [INIT, SUBSCRIBE, b'{"type":"pong"}']


async def test_who_was_not_welcomed_yet_is_now(backend: RecordingBackend) -> None:
    async with stay(*client_of(backend)) as held:
        await held.client.send(up(INIT))
        await backend.conversations[-1].frame()
        await held.loses_its_backend()
        backend.answer = answering(down(ACK))
        assert [(await held.client.frame()).payload for _ in range(2)] == [HINT.encode(), ACK]


UNWELCOME = {
    "forbidden": wire.close_frame(4403, "Forbidden", masked=False),
    "another message": down(b'{"type":"error"}'),
    "no JSON": down(b"hello"),
    "no frame": b"\xff" * 20,
}


@pytest.mark.parametrize("how", UNWELCOME)
async def test_a_backend_that_says_no_ends_it(backend: RecordingBackend, how: str) -> None:
    async with stay(*client_of(backend)) as held:
        await acknowledged(held)
        await held.loses_its_backend()
        backend.answer = answering(UNWELCOME[how])
        assert await close_of(held.client) == (1014, "backend-lost")
        assert held.house.notebook.redials[-1] == "refused"


@pytest.mark.parametrize("how", ["silence", "leaves", "restarts"])
async def test_one_that_is_not_itself_yet_is_asked_again(backend: RecordingBackend, how: str) -> None:
    async with stay(*client_of(backend)) as held:
        await acknowledged(held)
        await held.loses_its_backend()
        restart = wire.close_frame(1012, masked=False)
        backend.answer = answering(*([restart] if how == "restarts" else []), end=how == "leaves")
        await _fails(held.house)
        if how != "silence":
            backend.answer = answering(down(ACK))
            assert (await held.client.frame()).payload == HINT.encode()


async def _fails(house: House) -> None:
    before = house.notebook.redials.count("failed")
    for _ in range(300):
        if house.notebook.redials.count("failed") > before + 1 or not len(house.registry):
            return
        await asyncio.sleep(0.01)


async def test_a_client_that_leaves_ends_the_greeting(backend: RecordingBackend) -> None:
    async with stay(*client_of(backend)) as held:
        await acknowledged(held)
        await held.loses_its_backend()
        backend.answer = answering()
        for _ in range(300):
            if len(backend.conversations[-1].tail) and backend.upgrades[-1].get("x-wsguard-redial"):
                break
            await asyncio.sleep(0.01)
        held.client.reset()
        await held.house.empty()
        assert await backend.conversations[-1].until_ended() in ("rst", "fin")
