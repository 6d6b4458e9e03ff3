"""After the handshake bytes pass as they are, and a frame that breaks the rules goes no further than the guard."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.scenarios.conftest import Standing
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import Conversation
from tests.support.client import RawClient, connect
from tests.support.guard import Guard, policy
from tests.support.waiting import eventually, stays

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEFLATE = "permessage-deflate"
SIZES = [0, 1, 125, 126, 65535, 65536, 1_000_000]


@asynccontextmanager
async def tunnel(
    standing: Standing, extensions: str | None = None
) -> AsyncIterator[tuple[Guard, RawClient, Conversation]]:
    """The guard, and both ends of an open connection through it."""
    guard, backend = standing
    backend.answer = answers.accept(extensions=extensions)
    async with connect(guard.port) as client:
        await client.open(wire.upgrade(extensions=extensions))
        yield guard, client, await backend.conversation()


async def _arrives(conversation: Conversation, data: bytes) -> None:
    await eventually(lambda: len(conversation.tail) >= len(data), what="all bytes at the backend")
    assert conversation.tail == data


@pytest.mark.parametrize("way", ["whole", "byte by byte"])
async def test_bytes_pass_verbatim_to_the_backend(standing: Standing, way: str) -> None:
    """Every size, fragments with a Ping between them, and the client's own masks."""
    sizes = SIZES if way == "whole" else SIZES[:4]
    frames = [wire.frame(wire.BINARY, os.urandom(size)) for size in sizes]
    frames += [
        wire.frame(wire.TEXT, b"one ", fin=False),
        wire.frame(wire.PING, b"p" * 125),
        wire.frame(wire.CONTINUATION, b"", fin=False),
        wire.frame(wire.CONTINUATION, b"message"),
    ]
    sent = b"".join(frames)
    async with tunnel(standing) as (_, client, conversation):
        await (client.send if way == "whole" else client.drip)(sent)
        await _arrives(conversation, sent)


async def test_bytes_pass_verbatim_to_the_client(standing: Standing) -> None:
    """The other way, in pieces that end anywhere."""
    frames = [wire.frame(wire.BINARY, os.urandom(size), masked=False) for size in SIZES]
    frames.insert(3, wire.frame(wire.PING, b"are you there", masked=False))
    sent = b"".join(frames)
    async with tunnel(standing) as (guard, client, conversation):
        for at in range(0, len(sent), 70_001):
            await conversation.send(sent[at : at + 70_001])
        assert await client.reader.readexactly(len(sent)) == sent
        (listed,) = await guard.connections()
        assert listed["messages"] == {"clientToBackend": 0, "backendToClient": len(SIZES)}
        assert listed["bytes"]["backendToClient"] == len(sent)


async def test_compressed_messages_pass_untouched(standing: Standing) -> None:
    """RSV1 is permessage-deflate's, where it was agreed on; the payload is none of the guard's business."""
    sent = wire.frame(wire.TEXT, os.urandom(70_000), rsv=4, fin=False) + wire.frame(wire.CONTINUATION, b"")
    async with tunnel(standing, extensions=DEFLATE) as (_, client, conversation):
        await client.send(sent)
        await _arrives(conversation, sent)
        back = wire.frame(wire.TEXT, b"\xaa\x00", rsv=4, masked=False)
        await conversation.send(back)
        assert await client.reader.readexactly(len(back)) == back


VIOLATIONS = {
    "unmasked": wire.frame(wire.TEXT, b"hello", masked=False),
    "unmasked, empty": wire.frame(wire.TEXT, masked=False),
    "unmasked Close": wire.close_frame(1000, masked=False),
    "rsv1, nothing agreed": wire.frame(wire.TEXT, b"hello", rsv=4),
    "rsv2": wire.frame(wire.TEXT, b"hello", rsv=2),
    "rsv3": wire.frame(wire.TEXT, b"hello", rsv=1),
    "opcode 3": wire.frame(3, b"hello"),
    "opcode 11": wire.frame(11, b"hello"),
    "Ping of 126 bytes": wire.frame(wire.PING, b"x" * 126),
    "Close of 126 bytes": wire.frame(wire.CLOSE, b"\x03\xe8" + b"x" * 124),
    "Close of 1 byte": wire.frame(wire.CLOSE, b"\x03"),
    "fragmented Ping": wire.frame(wire.PING, b"x", fin=False),
    "continuation of nothing": wire.frame(wire.CONTINUATION, b"x"),
    "length with its top bit set": wire.frame(wire.BINARY, b"x", declared=2**63),
}


@pytest.mark.parametrize("way", ["whole", "byte by byte"])
@pytest.mark.parametrize("name", VIOLATIONS)
async def test_a_bad_frame_of_the_client_ends_it(standing: Standing, name: str, way: str) -> None:
    """What went before is delivered, the bad header is not, and both ends learn why."""
    good = wire.frame(wire.TEXT, b"good")
    async with tunnel(standing) as (guard, client, conversation):
        await (client.send if way == "whole" else client.drip)(good + VIOLATIONS[name])
        code, reason = await client.close_frame()
        assert (code, reason.split()[0]) == (1002, "protocol-error")
        assert (await conversation.frame()).payload == b"good"
        told = await conversation.frame()
        assert told.mask is not None
        assert told.close == (1001, "protocol-error")
        conversation.close()
        await client.close()
        line = await guard.ended()
        assert (line["reason"], line["code"], line["initiator"]) == ("protocol-error", 1002, "guard")
        assert line["detail"].startswith("client sent ")


async def test_a_new_message_inside_another_ends_it(standing: Standing) -> None:
    """Order of continuations, whose first fragment has gone on already."""
    async with tunnel(standing) as (_, client, conversation):
        await client.send(wire.frame(wire.TEXT, b"one", fin=False) + wire.frame(wire.TEXT, b"two"))
        assert (await client.close_frame())[0] == 1002
        assert (await conversation.frame()).payload == b"one"
        assert (await conversation.frame()).close == (1001, "protocol-error")


@pytest.mark.parametrize(
    "bad",
    [
        wire.frame(wire.TEXT, b"masked"),
        wire.frame(wire.TEXT, b"x", rsv=4, masked=False),
        wire.frame(wire.PING, b"x" * 126, masked=False),
        wire.frame(5, b"x", masked=False),
    ],
    ids=["masked", "rsv1", "long Ping", "opcode 5"],
)
async def test_a_bad_frame_of_the_backend_ends_it(standing: Standing, bad: bytes) -> None:
    """The client reads 1002 behind the last good frame."""
    async with tunnel(standing) as (guard, client, conversation):
        await conversation.send(wire.frame(wire.TEXT, b"good", masked=False) + bad)
        assert (await client.frame()).payload == b"good"
        code, reason = await client.close_frame()
        assert (code, reason.split()[0]) == (1002, "protocol-error")
        assert (await conversation.frame()).close == (1001, "protocol-error")
        conversation.close()
        await client.close()
        assert (await guard.ended())["detail"].startswith("backend sent ")


@asynccontextmanager
async def transparent(standing: Standing) -> AsyncIterator[tuple[Guard, RawClient, Conversation]]:
    """The same through a guard whose policy leaves framing to the two ends."""
    backend = standing.backend
    async with Guard(backend, policy("framing: Transparent")) as guard, tunnel(Standing(guard, backend)) as ends:
        yield ends


@pytest.mark.parametrize("name", ["rsv2", "opcode 3", "Ping of 126 bytes", "continuation of nothing"])
async def test_transparent_framing_lets_the_unknown_pass(standing: Standing, name: str) -> None:
    """A policy may leave the rules to the two ends."""
    sent = VIOLATIONS[name] + wire.frame(wire.TEXT, b"after")
    async with transparent(standing) as (_, client, conversation):
        await client.send(sent)
        await _arrives(conversation, sent)


async def test_transparent_framing_passes_no_unmasked_client_frame(standing: Standing) -> None:
    """RFC 6455 §5.1 protects other proxies; no policy switches that off."""
    async with transparent(standing) as (_, client, conversation):
        await client.send(wire.frame(wire.TEXT, b"hello", masked=False))
        assert (await client.close_frame())[0] == 1002
        assert (await conversation.frame()).opcode == wire.CLOSE


async def test_a_frame_of_five_gib_streams(standing: Standing) -> None:
    """Its length is only declared: what comes of it goes on at once, and an end in the middle is clean."""
    head = wire.frame(wire.BINARY, b"", declared=5 * 2**30)
    async with tunnel(standing) as (guard, client, conversation):
        await client.send(head + b"x" * 100_000)
        await _arrives(conversation, head + b"x" * 100_000)
        client.reset()
        await conversation.until_ended()
        assert (await guard.ended())["reason"] == "client-lost"


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "leaving"), (3001, "é" * 60), (4999, "x" * 123)])
@pytest.mark.parametrize("first", ["client", "backend"])
async def test_closes_are_the_peers_own(standing: Standing, first: str, code: int, reason: str) -> None:
    """Code and reason pass both ways, byte for byte, and are recorded as the peer's."""
    async with tunnel(standing) as (guard, client, conversation):
        if first == "client":
            await client.send(wire.close_frame(code, reason))
            assert (await conversation.frame()).close == (code, reason)
            await conversation.send(wire.close_frame(code, masked=False))
            assert (await client.frame()).close == (code, "")
        else:
            await conversation.send(wire.close_frame(code, reason, masked=False))
            assert await client.close_frame() == (code, reason)
            assert (await conversation.frame()).close == (code, "")
        conversation.close()
        assert await client.rest() == b""
        line = await guard.ended()
        assert (line["initiator"], line["reason"], line["code"]) == (first, f"{first}-closed", code)


async def test_a_close_without_a_code_stays_one(standing: Standing) -> None:
    """1005 is what the peer makes of it; it never goes on the wire."""
    async with tunnel(standing) as (guard, client, conversation):
        await client.send(wire.frame(wire.CLOSE))
        assert (await conversation.frame()).payload == b""
        await conversation.send(wire.frame(wire.CLOSE, masked=False))
        assert (await client.frame()).payload == b""
        conversation.close()
        assert (await guard.ended())["reason"] == "client-closed"


@pytest.mark.parametrize("end", ["fin", "rst"])
async def test_a_lost_backend_has_a_name(standing: Standing, end: str) -> None:
    """Gone without a Close: 1014, which the client is told, and when to come back."""
    async with tunnel(standing) as (guard, client, conversation):
        await conversation.send(wire.frame(wire.TEXT, b"last words", masked=False))
        assert (await client.frame()).payload == b"last words"
        conversation.reset() if end == "rst" else conversation.close()
        code, reason = await client.close_frame()
        assert (code, reason.split()[0]) == (1014, "backend-lost")
        assert "retry-after=" in reason
        assert await client.rest() == b""
        line = await guard.ended()
        assert (line["initiator"], line["reason"], line["code"]) == ("backend", "backend-lost", 1014)


async def test_a_backend_lost_in_the_middle_of_a_frame(standing: Standing) -> None:
    """No Close can follow half a frame: the client's connection ends, and no code is invented."""
    async with tunnel(standing) as (guard, client, conversation):
        await conversation.send(wire.frame(wire.TEXT, b"x" * 1000, masked=False)[:500])
        await client.reader.readexactly(500)
        conversation.close()
        assert await client.rest() == b""
        line = await guard.ended()
        assert (line["reason"], line["delivery"]) == ("backend-lost", "undelivered")


async def test_a_half_closed_client_still_hears(standing: Standing) -> None:
    """A FIN is mirrored, and what the backend still has to say arrives."""
    standing.backend.keeps_half_open = True
    async with tunnel(standing) as (guard, client, conversation):
        await client.send(wire.frame(wire.TEXT, b"a question"))
        client.half_close()
        assert (await conversation.frame()).payload == b"a question"
        assert await conversation.until_ended() == "fin"
        await conversation.send(wire.frame(wire.TEXT, b"the answer", masked=False))
        assert (await client.frame()).payload == b"the answer"
        conversation.close()
        await client.rest()
        assert (await guard.ended())["initiator"] == "client"


async def test_a_quiet_connection_stays(standing: Standing) -> None:
    """Nothing is sent on anybody's behalf."""
    async with tunnel(standing) as (_, client, conversation):
        await stays(lambda: not conversation.tail and not conversation.ended, 1.0)
        await client.send(wire.frame(wire.PING, b"p"))
        assert (await conversation.frame()).opcode == wire.PING
