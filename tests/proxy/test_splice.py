"""What passes through a splice, and how its peers end it: by a Close, by leaving, by breaking the rules."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest

from tests.proxy.tunnel import GRACE, LASTING, record, text, tunnel
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import RecordingBackend
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy.teardown import PATIENCE

SIZES = [0, 1, 125, 126, 65535, 65536]
EXPIRED = (4440, "session-expired")
AWAY = (1001, "session-expired")


@pytest.mark.parametrize("way", ["whole", "byte by byte"])
async def test_frames_of_every_size_pass_verbatim_both_ways(backend: RecordingBackend, way: str) -> None:
    sizes = SIZES if way == "whole" else SIZES[:4]
    up = b"".join(wire.frame(wire.BINARY, os.urandom(size)) for size in sizes)
    down = b"".join(wire.frame(wire.BINARY, os.urandom(size), masked=False) for size in sizes)
    async with tunnel(backend) as opened:
        if way == "whole":
            await opened.client.send(up)
            await opened.far.send(down)
        else:
            await opened.client.drip(up)
            for at in range(len(down)):
                await opened.far.send(down[at : at + 1])
                await asyncio.sleep(0)
        await opened.arrives(up)
        await opened.returns(down)
        traffic = opened.splice.traffic()
        assert traffic == (len(sizes), len(up), len(sizes), len(down))


@pytest.mark.parametrize("declared", [2**32, 5 * 2**30, 2**63 - 1])
async def test_a_frame_longer_than_memory_streams(backend: RecordingBackend, declared: int) -> None:
    """What of it comes goes on at once; a cut then finds no boundary, and the grace ends both."""
    head = wire.frame(wire.BINARY, declared=declared, masked=False)
    async with tunnel(backend) as opened:
        await opened.far.send(head + b"x" * 50_000)
        await opened.returns(head + b"x" * 50_000)
        assert opened.half("backend").scanner.left == declared - 50_000
        opened.splice.cut(CloseReason.SESSION_EXPIRED)
        with pytest.raises(ConnectionResetError):
            await opened.client.rest()
        assert (await opened.far.frame()).close == AWAY
        assert await record(opened) == ("guard", "session-expired", 4440, "open", "undelivered")


async def test_compressed_frames_pass_where_it_was_negotiated(backend: RecordingBackend) -> None:
    extension = "permessage-deflate; server_no_context_takeover"
    backend.answer = answers.accept(extensions=extension)
    async with tunnel(backend, handshake=wire.upgrade(extensions="permessage-deflate")) as opened:
        up, down = wire.frame(wire.TEXT, b"\xf2", rsv=4), wire.frame(wire.TEXT, b"\xaa", rsv=4, masked=False)
        await opened.client.send(up)
        await opened.far.send(down)
        await opened.arrives(up)
        await opened.returns(down)


# The peers close.


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (3001, "é" * 9), (4999, "x" * 123), (None, "")])
@pytest.mark.parametrize("first", ["client", "backend"])
async def test_a_close_is_the_peers_own(backend: RecordingBackend, first: str, code: int | None, reason: str) -> None:
    """Byte for byte, the reply too, though it differs; recorded as the peer's, with nothing of ours in it."""
    payload = b"" if code is None else code.to_bytes(2, "big") + reason.encode()
    async with tunnel(backend) as opened:
        masked = first == "client"
        close = wire.frame(wire.CLOSE, payload, masked=masked)
        reply = wire.close_frame(1000, "and you", masked=not masked)
        if first == "client":
            await opened.client.send(close + text(b"behind", masked=True))
            await opened.arrives(close)
            await opened.far.send(text(b"last words") + reply + text(b"behind"))
            await opened.returns(text(b"last words") + reply)
        else:
            await opened.far.send(text(b"last words") + close + text(b"behind"))
            await opened.returns(text(b"last words") + close)
            await opened.client.send(reply)
            await opened.arrives(reply)
            opened.far.close()
        assert await opened.client.rest() == b""
        await opened.client.close()
        assert await opened.far.until_ended() == "fin"
        assert await record(opened) == (first, f"{first}-closed", code or 1005, "open", "none")


async def test_both_close_at_once(backend: RecordingBackend) -> None:
    """Two Closes that cross are each passed on, once, and are each other's reply."""
    async with tunnel(backend) as opened:
        up, down = wire.close_frame(1000, "client"), wire.close_frame(1001, "backend", masked=False)
        await asyncio.gather(opened.client.send(up), opened.far.send(down))
        await opened.arrives(up)
        await opened.returns(down)
        assert await opened.client.rest() == b""
        await opened.client.close()
        assert await opened.far.until_ended() == "fin"
        initiator, token, *_ = await record(opened)
        assert token == f"{initiator}-closed"


async def test_a_close_of_the_backend_and_its_fin_at_once(backend: RecordingBackend) -> None:
    """Many servers do not wait for the reply: the client still reads the code."""
    async with tunnel(backend) as opened:
        await opened.far.send(wire.close_frame(4000, "done", masked=False))
        opened.far.close()
        assert await opened.client.close_frame() == (4000, "done")
        assert await opened.client.rest() == b""
        assert await record(opened) == ("backend", "backend-closed", 4000, "open", "none")


@pytest.mark.parametrize("first", ["client", "backend"])
async def test_a_cut_while_the_peers_are_closing(backend: RecordingBackend, first: str) -> None:
    """Whoever has said Close gets one, and whoever has been told of it gets none of the guard's: one a side."""
    async with tunnel(backend, LASTING) as opened:
        if first == "client":
            await opened.client.send(wire.close_frame(1000))
            assert (await opened.far.frame()).close == (1000, "")
            opened.splice.cut(CloseReason.SESSION_EXPIRED)
            assert (await opened.client.frame()).close == EXPIRED
            assert await opened.client.rest() == b"", "no reply is due: the guard closes at once"
            assert not opened.far.tail
        else:
            await opened.far.send(wire.close_frame(1000, masked=False))
            assert (await opened.client.frame()).close == (1000, "")
            opened.splice.cut(CloseReason.SESSION_EXPIRED)
            assert (await opened.far.frame()).close[0] == 1001
            assert await opened.far.until_ended() == "fin"
            await opened.client.send(wire.close_frame(1000))
            assert await opened.client.rest() == b""
        opened.far.close()
        await opened.client.close()
        assert (await record(opened))[:3] == (first, f"{first}-closed", 1000)


# The peers leave.


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_backend_that_is_gone_without_a_close(backend: RecordingBackend, how: str) -> None:
    async with tunnel(backend) as opened:
        await opened.far.send(text(b"last words"))
        assert (await opened.client.frame()).payload == b"last words"
        opened.far.reset() if how == "rst" else opened.far.close()
        code, reason = await opened.client.close_frame()
        assert (code, reason.split()[0]) == (1014, "backend-lost")
        assert "retry-after=" in reason
        assert await opened.client.rest() == b""
        assert await record(opened) == ("backend", "backend-lost", 1014, "open", "acknowledged")


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_backend_that_dies_in_the_middle_of_a_frame(backend: RecordingBackend, how: str) -> None:
    """Nothing can follow half a frame: the client's connection ends, and no code is invented."""
    half = text(b"x" * 1000)[:500]
    async with tunnel(backend, LASTING) as opened:
        await opened.far.send(half)
        await opened.returns(half)
        opened.far.reset() if how == "rst" else opened.far.close()
        assert await opened.client.rest() == b"", "at once"
        opened.client.half_close()
        assert await record(opened) == ("backend", "backend-lost", 1014, "open", "undelivered")


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_backend_that_dies_while_a_cut_waits_for_its_frame(backend: RecordingBackend, how: str) -> None:
    """The boundary will not come, and the grace is not waited for."""
    half = text(b"x" * 1000)[:500]
    async with tunnel(backend) as opened:
        opened.splice._teardown._close_timeout = 20.0
        await opened.far.send(half)
        await opened.returns(half)
        opened.splice.cut(CloseReason.SESSION_EXPIRED)
        assert (await opened.far.frame()).close == AWAY
        opened.far.reset() if how == "rst" else opened.far.close()
        assert await opened.client.rest() == b""
        opened.client.half_close()
        assert await record(opened) == ("guard", "session-expired", 4440, "open", "undelivered")


async def test_a_half_closed_client_still_hears(backend: RecordingBackend) -> None:
    """Its FIN is mirrored behind all that it said, and the backend finishes its own sentence."""
    backend.keeps_half_open = True
    question, reply = text(b"q" * 300_000, masked=True), text(b"a" * 300_000)
    async with tunnel(backend) as opened:
        await opened.client.send(question)
        opened.client.half_close()
        assert await opened.far.until_ended() == "fin"
        await opened.arrives(question)
        await opened.far.send(reply)
        await opened.returns(reply)
        await opened.far.send(wire.close_frame(1000, "done", masked=False))
        assert (await opened.client.frame()).close == (1000, "done")
        assert await opened.client.rest() == b""
        assert await record(opened) == ("client", "client-lost", 0, "open", "none")


async def test_a_cut_of_a_half_closed_connection(backend: RecordingBackend) -> None:
    """The client may still read; the backend has had its FIN and can be sent nothing."""
    backend.keeps_half_open = True
    async with tunnel(backend) as opened:
        opened.client.half_close()
        assert await opened.far.until_ended() == "fin"
        opened.splice.cut(CloseReason.SESSION_EXPIRED)
        assert (await opened.client.frame()).close == EXPIRED
        assert await opened.client.rest() == b"", "a client that has sent its FIN owes no reply"
        assert not opened.far.tail
        assert (await record(opened))[:2] == ("client", "client-lost")


@pytest.mark.parametrize("where", ["boundary", "mid-frame"])
async def test_a_client_that_is_gone(backend: RecordingBackend, where: str) -> None:
    """The backend sees a plain end of TCP behind what was sent: a code would be an invention."""
    sent = text(b"hello", masked=True) + (text(b"x" * 100, masked=True)[:50] if where == "mid-frame" else b"")
    async with tunnel(backend) as opened:
        await opened.client.send(sent)
        await opened.arrives(sent)
        opened.client.reset()
        assert await opened.far.until_ended() == "fin"
        assert opened.far.tail == sent
        assert await record(opened) == ("client", "client-lost", 0, "open", "none")


async def test_both_are_gone_at_once(backend: RecordingBackend) -> None:
    async with tunnel(backend) as opened:
        opened.client.reset()
        opened.far.reset()
        initiator, token, *_ = await record(opened)
        assert token == f"{initiator}-lost"


async def test_peers_that_never_finish_are_ended(backend: RecordingBackend) -> None:
    """A close handshake of their own gets longer than a cut, but not for ever."""
    async with tunnel(backend) as opened:
        timers: list[float] = []
        teardown = opened.splice._teardown
        arm = teardown._loop.call_later
        teardown._loop = _Loop(lambda delay, *args: timers.append(delay) or arm(GRACE, *args))  # type: ignore
        await opened.client.send(wire.close_frame(1000))
        await opened.far.frame()
        with pytest.raises(ConnectionResetError):
            await opened.client.rest()
        assert timers == [PATIENCE]
        assert await record(opened) == ("client", "client-closed", 1000, "open", "none")


class _Loop:
    def __init__(self, call_later: Callable[..., object]) -> None:
        self.call_later = call_later


# Violations.


@pytest.mark.parametrize("way", ["whole", "byte by byte"])
async def test_a_violation_by_the_client(backend: RecordingBackend, way: str) -> None:
    """What stood before it is delivered, it is not, and both sides learn why."""
    async with tunnel(backend) as opened:
        sent = text(b"good", masked=True) + text(b"not masked")
        await (opened.client.send if way == "whole" else opened.client.drip)(sent)
        assert (await opened.far.frame()).payload == b"good"
        told = await opened.far.frame()
        assert told.mask is not None
        assert told.close == (1001, "protocol-error")
        assert (await opened.client.frame()).close == (1002, "protocol-error")
        assert await opened.client.rest() == b""
        ended = await opened.house.end()
        assert (ended.initiator, ended.code, ended.detail) == ("guard", 1002, "client sent an unmasked frame")


async def test_a_violation_by_the_backend(backend: RecordingBackend) -> None:
    async with tunnel(backend) as opened:
        await opened.far.send(text(b"good") + text(b"masked", masked=True))
        assert (await opened.client.frame()).payload == b"good"
        assert await opened.client.close_frame() == (1002, "protocol-error")
        assert (await opened.far.frame()).close == (1001, "protocol-error")
        assert await opened.far.until_ended() == "fin"
        assert await opened.client.rest() == b""
        ended = await opened.house.end()
        assert (ended.initiator, ended.code, ended.detail) == ("guard", 1002, "backend sent a masked frame")


async def test_violations_on_both_sides_are_one_end(backend: RecordingBackend) -> None:
    async with tunnel(backend) as opened:
        await asyncio.gather(
            opened.client.send(wire.frame(3, b"x")), opened.far.send(wire.frame(3, b"x", masked=False))
        )
        assert (await opened.client.frame()).close == (1002, "protocol-error")
        assert (await opened.far.frame()).close == (1001, "protocol-error")
        assert await opened.client.rest() == b""
        assert await opened.far.until_ended() == "fin"
