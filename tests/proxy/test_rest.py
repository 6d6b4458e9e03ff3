"""Leaving between two messages: of both sides, whole, and soon enough whatever a peer does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.proxy.fakes import Bench
from tests.proxy.tunnel import down, tunnel, up
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.waiting import eventually
from wsguard.protocol.closing import close_frame
from wsguard.protocol.dialects import PHRASES, Dialect
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.scanner import FrameScanner, Sender
from wsguard.proxy import rest
from wsguard.proxy.half import Half

CLOSE = close_frame(1012, "draining crowd=7")
GOODBYE = PHRASES[Dialect.SIGNALR].goodbye


def leave(bench: Bench, goodbye: bytes = b"") -> None:
    bench.splice.leave(CloseReason.DRAINING, goodbye, 7)


def test_at_rest_it_leaves_at_once() -> None:
    bench = Bench()
    bench.backend.arrive(down(b"hello"))
    leave(bench, GOODBYE)
    assert bench.to_client == down(b"hello") + GOODBYE + CLOSE
    assert bench.splice.state == "closing"


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_a_message_of_the_backend_is_whole_before_the_close(chunk: int) -> None:
    """A fragmented one; what comes behind it is not begun."""
    bench = Bench()
    first, rest_of_it = down(b"a" * 200, fin=False), down(b"b" * 200, opcode=wire.CONTINUATION)
    bench.backend.arrive(first)
    leave(bench, GOODBYE)
    stream = rest_of_it + down(b"one more")
    for start in range(0, len(stream), chunk):
        bench.backend.arrive(stream[start : start + chunk])
    assert bench.to_client == first + rest_of_it + GOODBYE + CLOSE


def test_a_message_of_the_client_is_whole_before_the_close() -> None:
    """A client that hears a Close says no more (RFC 6455 §5.5.1), so it hears it afterwards."""
    bench = Bench()
    message = up(b"x" * 500)
    bench.client.arrive(message[:100])
    leave(bench)
    assert bench.to_client == b""
    bench.client.arrive(message[100:] + up(b"one more"))
    assert bench.to_client == CLOSE
    assert bench.to_backend.startswith(message)
    scanner = FrameScanner(Sender.CLIENT)
    assert scanner.feed(bench.to_backend) == bench.to_backend
    assert (scanner.messages, scanner.close_code) == (1, 1001)


def test_the_side_that_is_done_first_waits_for_the_other() -> None:
    bench = Bench()
    message, other = down(b"d" * 300), up(b"u" * 300)
    bench.backend.arrive(message[:50])
    bench.client.arrive(other[:50])
    leave(bench)
    bench.backend.arrive(message[50:] + down(b"held"))
    assert not bench.backend.reading
    assert bench.to_client == message
    bench.client.arrive(other[50:])
    assert bench.to_client == message + CLOSE
    assert bench.backend.reading
    bench.client.arrive(up(b"", opcode=wire.CLOSE))
    assert bench.splice.state == "closing"


def test_the_reply_that_came_too_early_is_not_lost() -> None:
    """The client's own Close, behind its last message: its ending is taken as it is."""
    bench = Bench()
    message, other = down(b"d" * 300), up(b"u" * 300)
    bench.backend.arrive(message[:50])
    bench.client.arrive(other[:50])
    leave(bench)
    bench.client.arrive(other[50:] + wire.frame(wire.CLOSE, b"\x03\xe8"))
    bench.backend.arrive(message[50:])
    assert bench.to_client == message + CLOSE
    bench.client.fin()
    bench.backend.fin()
    bench.client.lose(None)
    bench.backend.lose(None)
    assert bench.end[1] == "acknowledged"


def test_a_message_without_end_is_cut_after_all() -> None:
    bench = Bench()
    part = down(b"d" * 300)[:100]
    bench.backend.arrive(part)
    leave(bench, GOODBYE)
    armed = bench.loop.armed
    assert armed is not None
    assert armed.when == rest.PATIENCE
    bench.loop.fire()
    assert bench.splice.state == "closing"
    bench.backend.arrive(down(b"d" * 300)[100:])
    assert bench.to_client == down(b"d" * 300) + CLOSE, "no goodbye amid a message; the frame's end is awaited as ever"


def test_a_cut_does_not_wait_and_takes_its_own_reason() -> None:
    bench = Bench()
    bench.client.arrive(up(b"x" * 500)[:100])
    leave(bench)
    bench.splice.cut(CloseReason.LOGGED_OUT)
    assert bench.to_client == close_frame(4441, "logged-out")
    assert isinstance(bench.client.half, Half)
    assert isinstance(bench.backend.half, Half)
    assert bench.backend.reading


def test_an_owner_that_only_audits_lets_it_go_on() -> None:
    bench = Bench()
    bench.owner.close_for = lambda reason, crowd=None: None  # type: ignore[method-assign]
    message = up(b"x" * 500)
    bench.client.arrive(message[:100])
    leave(bench)
    bench.client.arrive(message[100:] + message)
    bench.backend.arrive(down(b"hello"))
    assert (bench.to_backend, bench.to_client) == (message * 2, down(b"hello"))
    assert bench.splice.state == "open"
    assert bench.loop.armed is None


def test_a_peer_that_ends_it_meanwhile_has_its_way() -> None:
    bench = Bench()
    bench.client.arrive(up(b"x" * 500)[:100])
    leave(bench)
    bench.client.lose(ConnectionResetError())
    bench.backend.lose(None)
    assert bench.end[0].reason is CloseReason.CLIENT_LOST
    assert bench.loop.armed is None


def test_whoever_is_ending_already_is_cut_as_ever() -> None:
    bench = Bench()
    bench.client.fin()
    leave(bench)
    assert bench.to_client == CLOSE


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 60)), max_size=30),
    st.integers(0, 10),
    st.lists(st.binary(max_size=30), min_size=1, max_size=4),
)
def test_both_sides_hear_whole_messages_only(
    arrivals: list[tuple[bool, int]], when: int, payloads: list[bytes]
) -> None:
    bench = Bench()
    streams = [
        b"".join(frame(payload, fin=False) + frame(payload, opcode=wire.CONTINUATION) for payload in payloads)
        for frame in (up, down)
    ]
    at = [0, 0]
    for number, (is_down, size) in enumerate([*arrivals, (False, 10**6), (True, 10**6)]):
        if number == when:
            leave(bench)
        transport = bench.backend if is_down else bench.client
        if transport.hears:
            transport.arrive(streams[is_down][at[is_down] : at[is_down] + size])
            at[is_down] += size
    if when > len(arrivals) + 1:
        return
    for sender, heard in ((Sender.BACKEND, bench.to_client), (Sender.CLIENT, bench.to_backend)):
        scanner = FrameScanner(sender)
        scanner.feed(heard)
        assert (scanner.in_message, scanner.violation, scanner.halted) == (False, None, True)


async def test_over_real_sockets(backend: RecordingBackend) -> None:
    """An upload that is under way arrives whole; then both sides are told."""
    async with tunnel(backend) as opened:
        message = up(b"z" * 300_000, opcode=wire.BINARY)
        await opened.client.send(message[:150_000])
        await eventually(lambda: len(opened.far.tail) > 100_000)
        opened.splice.leave(CloseReason.DRAINING)
        await opened.client.send(message[150_000:])
        code, reason = await opened.client.close_frame()
        assert (code, reason.split()[0]) == (1012, "draining")
        await eventually(lambda: len(opened.far.tail) > len(message))
        assert opened.far.tail[: len(message)] == message
