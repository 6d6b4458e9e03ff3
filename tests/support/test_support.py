"""The tests' own tools, tried without a guard: an oracle that is wrong proves nothing."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode

from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.client import connect
from tests.support.guard import Guard
from tests.support.relay import FaultyRelay
from tests.support.waiting import eventually, stays

SIZES = [0, 1, 125, 126, 65535, 65536, 100_000]


@pytest.mark.parametrize("size", SIZES)
def test_frames_are_what_wsproto_reads(size: int) -> None:
    """Masked for a server, unmasked for a client."""
    payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
    for is_client in (False, True):
        oracle = FrameProtocol(client=is_client, extensions=[])
        oracle.receive_bytes(wire.frame(wire.BINARY, payload, masked=not is_client))
        read = b"".join(bytes(frame.payload) for frame in oracle.received_frames())  # type: ignore[arg-type]
        assert read == payload


@pytest.mark.parametrize("size", SIZES)
def test_frames_of_wsproto_are_read_byte_by_byte(size: int) -> None:
    """What another implementation writes is read back, and nothing before its last byte has come."""
    payload = b"x" * size
    sent = FrameProtocol(client=True, extensions=[]).send_data(payload)
    buffer = bytearray(sent[:-1])
    assert wire.take_frame(buffer) is None or size == 0
    buffer = bytearray(sent)
    frame = wire.take_frame(buffer)
    assert frame is not None
    assert (frame.opcode, frame.payload, len(frame.mask or b"")) == (wire.BINARY, payload, 4)
    assert not buffer


def test_close_frames_agree_with_wsproto() -> None:
    """Code and reason."""
    oracle = FrameProtocol(client=True, extensions=[])
    oracle.receive_bytes(wire.close_frame(4403, "origin-denied", masked=False))
    (frame,) = oracle.received_frames()
    assert (frame.opcode, frame.payload) == (Opcode.CLOSE, (4403, "origin-denied"))
    sent = bytearray(oracle.close(CloseReason.NORMAL_CLOSURE, "bye"))
    read = wire.take_frame(sent)
    assert read is not None
    assert read.close == (1000, "bye")


async def test_backend_records_and_echoes(backend: RecordingBackend) -> None:
    """Every byte, every request."""
    backend.answer = answers.accept(echo=True)
    async with connect(backend.port) as client:
        head = await client.open(wire.upgrade("/ws", origin="http://a.test"))
        assert head.get("sec-websocket-accept") == wire.accept(wire.KEY)
        await client.send(wire.frame(wire.TEXT, b"hello"))
        assert (await client.frame()).payload == b"hello"
        await client.send(wire.close_frame(1000))
        assert (await client.frame()).close == (1000, "")
        assert await client.rest() == b""
    (head,) = backend.upgrades
    assert head.get("origin") == "http://a.test"


async def test_backend_reads_bodies_between_requests(backend: RecordingBackend) -> None:
    """A second request counts as one only where the first has really ended."""
    chunks = b"5\r\nhello\r\n0\r\n\r\n"
    async with connect(backend.port) as client:
        for body, field in ((b"hello", ("Content-Length", "5")), (chunks, ("Transfer-Encoding", "chunked"))):
            await client.send(wire.request("POST", "/a", [("Host", "a"), field], body))
            head = await client.head()
            assert await client.body(head) == b"ok"
    assert [head.start for head in backend.requests] == ["POST /a HTTP/1.1"] * 2


async def test_backend_sees_how_a_client_went(backend: RecordingBackend) -> None:
    """FIN and RST are told apart."""
    for end in ("fin", "rst"):
        async with connect(backend.port) as client:
            await client.open(wire.upgrade())
            conversation = await backend.conversation()
            if end == "rst":
                client.reset()
        assert await conversation.until_ended() == end


async def test_relay_stalls_in_the_middle_and_goes_on(backend: RecordingBackend) -> None:
    """Nothing is lost."""
    async with FaultyRelay(backend.port) as relay, connect(relay.port) as client:
        await client.open(wire.upgrade())
        conversation = await backend.conversation()
        relay.stall(up=3)
        sent = wire.frame(wire.TEXT, b"hello")
        await client.send(sent)
        await eventually(lambda: len(conversation.tail) == 3)
        await stays(lambda: len(conversation.tail) == 3, 0.1)
        relay.release()
        assert (await conversation.frame()).payload == b"hello"


async def test_relay_resets_both_sides(backend: RecordingBackend) -> None:
    """As a middlebox does."""
    async with FaultyRelay(backend.port) as relay, connect(relay.port) as client:
        await client.open(wire.upgrade())
        relay.reset()
        assert await (await backend.conversation()).until_ended() == "rst"
        with pytest.raises(ConnectionResetError):
            await client.rest()


async def test_guards_of_the_nursery_share_nothing_that_is_open_and_end_each_by_itself(
    backend: RecordingBackend,
) -> None:
    async with Guard(backend) as one, Guard(backend) as other:
        assert not _pipes_and_sockets(one) & _pipes_and_sockets(other)
        one.program.process.send_signal(signal.SIGKILL)
        assert await one.program.wait() == -signal.SIGKILL
        assert await other.is_idle()
        assert await other.terminate() == 0


def _pipes_and_sockets(guard: Guard) -> set[str]:
    targets = []
    for path in Path(f"/proc/{guard.program.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # such as the connection that asked whether it is ready
            targets.append(os.readlink(path))
    return {target for target in targets if target.startswith(("pipe:", "socket:"))}
