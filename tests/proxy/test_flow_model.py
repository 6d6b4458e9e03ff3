"""All that may stand in a stream at once: limits, pings of the guard's own, hints, rest, stalls, cuts, in any order.

What either side gets is what the other has sent, in its order, less the pongs that answer the guard's own pings, with
whole frames of the guard's between them.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.proxy.fakes import Bench, FakeTransport
from tests.proxy.frames import frame
from tests.proxy.limits import bandwidth, messages
from tests.support import wire
from wsguard.policy.model import Bandwidth, Limits, MessageType, OnExceed, PolicySpec, SlowConsumer
from wsguard.protocol.frames import message_frame
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy.half import Half
from wsguard.proxy.keepalive import ping
from wsguard.proxy.limited import SHORTEST

HINT = message_frame("a hint of the guard's")
OWN = b"own pong"
KIBI = 1024
SLOW = SlowConsumer(max_pause=3, buffer_limit=65_536)

LIMITS = st.sampled_from(
    [
        Limits(),
        messages(5, 2, OnExceed.THROTTLE),
        messages(5, 1, OnExceed.THROTTLE).model_copy(update={"max_message_size": KIBI}),
        bandwidth(KIBI, 300, OnExceed.THROTTLE),
        bandwidth(40, 20, OnExceed.THROTTLE).model_copy(update={"slow_consumer": SLOW}),
        messages(5, 4),
        bandwidth(KIBI, KIBI).model_copy(update={"messages": messages(9, 3, OnExceed.THROTTLE).messages}),
        Limits(max_message_size=KIBI, message_types=(MessageType.BINARY,), slow_consumer=SLOW),
    ]
)

KINDS = [
    [0x82], [0x81], [0x89], [0x8A], [0x02, 0x80], [0x01, 0x89, 0x00, 0x80], [0x88]
]  # fmt: skip
SIZES = st.sampled_from([0, 1, 3, 8, 125, 126, 900, 2000])
SENT = st.lists(st.tuples(st.sampled_from(KINDS[:-1]) | st.sampled_from(KINDS), SIZES), max_size=8)


def frames(sent: list[tuple[list[int], int]], masked: bool) -> list[bytes]:
    """Each with a byte of its own all over, so that none can be taken for another."""
    count, made = 0, []
    for firsts, size in sent:
        for first in firsts:
            count += 1
            payload = b"\x03\xe8bye" if first == 0x88 else bytes([count]) * (min(size, 125) if first & 8 else size)
            made.append(frame(first & 0x0F, payload, masked, fin=bool(first & 0x80)))
    return made


class Peer:
    """One end: what it has yet to send, and what it has been sent."""

    def __init__(self, transport: FakeTransport, half: Half, sent: list[bytes], masked: bool) -> None:
        self.transport, self.half, self.masked = transport, half, masked
        self.expected = b"".join(sent)
        self.to_send, self.at = sent, 0
        self.unanswered = 0

    @property
    def stream(self) -> bytes:
        return b"".join(self.to_send)

    def say(self, size: int) -> None:
        if self.transport.hears and self.at < len(self.stream):
            data = self.stream[self.at : self.at + size]
            self.at += len(data)
            self.transport.arrive(data)

    def answer(self) -> None:
        """A pong for the guard's ping, behind the frame that this end is about to send."""
        if self.unanswered:
            self.unanswered -= 1
            ends = list(accumulate(map(len, self.to_send), initial=0))
            index = next(i for i, end in enumerate(ends) if end >= self.at)
            self.to_send.insert(index, frame(wire.PONG, OWN, self.masked))

    def fin_all_the_same(self) -> None:
        """As of a transport that tells of it although it is not read."""
        if not (self.transport.eof_seen or self.transport.closing):
            self.transport.eof_seen = True
            self.transport.half.eof_received()


def from_peer(sent: bytes, *, masked: bool) -> tuple[bytes, bool]:
    """What of `sent` is the other end's, and whether the guard's own Close stands behind it."""
    rest, theirs = bytearray(sent), b""
    while rest:
        before = bytes(rest)
        read = wire.take_frame(rest)
        if read is None:
            return theirs + before, False
        raw = before[: len(before) - len(rest)]
        assert (read.mask is not None) == masked
        if read.opcode == wire.CLOSE and read.close != (1000, "bye"):
            assert not rest, "nothing follows the guard's Close"
            return theirs, True
        if not (raw == HINT or (read.opcode == wire.PING and read.payload == OWN)):
            theirs += raw
    return theirs, False


ACTS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from(
            ["bytes"] * 6 + ["time"] * 3 + ["ping", "answer"] * 2
            + ["stall", "unstall", "hint", "leave", "leave", "cut", "fin", "late fin", "rst"]
        ),
        st.sampled_from([1, 2, 3, 7, 60, 500, 10**6]),
    ),
    min_size=4,
    max_size=40,
)  # fmt: skip


TO_ALL: dict[str, Callable[[Bench], None]] = {
    "hint": lambda bench: bench.splice.interject(lambda: HINT),
    "leave": lambda bench: bench.splice.leave(CloseReason.DRAINING),
    "cut": lambda bench: bench.splice.cut(CloseReason.LOGGED_OUT),
}
TO_ONE: dict[str, Callable[[Peer], None]] = {
    "answer": Peer.answer,
    "stall": lambda peer: setattr(peer.transport, "stalled", True),
    "unstall": lambda peer: peer.transport.unstall(),
    "fin": lambda peer: peer.transport.fin(),
    "late fin": Peer.fin_all_the_same,
    "rst": lambda peer: peer.transport.lose(ConnectionResetError()),
}


def happen(bench: Bench, peers: tuple[Peer, Peer], side: int, act: str, size: int) -> None:
    peer, other = peers[side], peers[1 - side]
    if act == "bytes":
        peer.say(size)
    elif act == "time":
        pass_time(bench, size / 60)
    elif act == "ping":
        if bench.splice.halves() is not None and ping(peer.half, other.half):
            peer.unanswered += 1
    elif act in TO_ALL:
        TO_ALL[act](bench)
    else:
        TO_ONE[act](peer)


def pass_time(bench: Bench, seconds: float) -> None:
    bench.now += seconds
    bench.loop.wake("_wake")
    bench.loop.wake("_look")


def check(bench: Bench, peers: tuple[Peer, Peer]) -> None:
    for source, sent, masked in ((peers[0], bench.to_backend, True), (peers[1], bench.to_client, False)):
        theirs, is_closed = from_peer(sent, masked=masked)
        assert source.expected.startswith(theirs), "only what was sent, in its order"
        assert not (is_closed and bench.splice.state == "open")


@settings(max_examples=200)
@given(LIMITS, SENT, SENT, ACTS, st.booleans())
@example(
    bandwidth(KIBI, 300, OnExceed.THROTTLE),
    [([0x82], 2000)],
    [],
    [(0, "bytes", 10**6), (0, "cut", 1), (0, "time", 1)],
    False,
)
def test_any_order_of_events(
    limits: Limits,
    from_client: list[tuple[list[int], int]],
    from_backend: list[tuple[list[int], int]],
    acts: list[tuple[int, str, int]],
    audits: bool,
) -> None:
    bench = Bench(PolicySpec(limits=limits))
    bench.owner.audits = audits
    client, backend = bench.client.half, bench.backend.half
    for half in (client, backend):
        half.scanner.own_pong = OWN
    peers = (
        Peer(bench.client, client, frames(from_client, True), True),
        Peer(bench.backend, backend, frames(from_backend, False), False),
    )
    began = bench.now
    for side, act, size in acts:
        happen(bench, peers, side, act, size)
        check(bench, peers)
        if limits.bandwidth is not None and not audits:
            assert len(from_peer(bench.to_backend, masked=True)[0]) <= allowed(limits.bandwidth, bench.now - began)
    if bench.splice.state == "open":
        settle(bench, peers)
    finish(bench)


def allowed(limit: Bandwidth, seconds: float) -> float:
    """Bytes that a client may have sent on by then, also where it is cut."""
    rate = limit.per_connection
    return max(rate.at_once, rate.per_second * SHORTEST * 1.5) + rate.per_second * seconds + 1


def settle(bench: Bench, peers: tuple[Peer, Peer]) -> None:
    """Whoever stalled reads on, and time passes: all arrives, or the connection ends."""
    for _ in range(2_000):
        if bench.splice.state != "open" or not _is_under_way(bench, peers):
            break
        for peer in peers:
            peer.transport.unstall()
            peer.say(10**6)
        bench.loop.fire()
        pass_time(bench, 60)
    check(bench, peers)
    if bench.splice.state == "open":
        for source, sent, masked in ((peers[0], bench.to_backend, True), (peers[1], bench.to_client, False)):
            assert from_peer(sent, masked=masked) == (source.expected, False), "nothing is kept for ever"
            assert source.transport.reading
            if not source.unanswered:
                assert source.half.scanner.own_pongs_due == 0


def _is_under_way(bench: Bench, peers: tuple[Peer, Peer]) -> bool:
    """Whether anything was not said yet, is kept, or holds somebody up."""
    timers = [timer for timer in bench.loop.timers if timer.call is not None]
    return bool(timers) or any(peer.at < len(peer.stream) or peer.transport.stalled for peer in peers)


def finish(bench: Bench) -> None:
    if bench.splice.state == "open":
        bench.client.lose(None)
    bench.loop.fire()
    bench.loop.fire()
    for transport in (bench.client, bench.backend):
        assert transport.gone or transport.closing, "a transport outlived its connection"
        transport.lose(None)
    assert bench.splice.state == "ended"
    assert all(timer.call is None for timer in bench.loop.timers)
    assert len(bench.owner.ends) == 1
