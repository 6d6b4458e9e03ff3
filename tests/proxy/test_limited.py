"""A client that is held to limits: cut, held back or only recorded, and nobody's bytes in disorder."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.proxy.fakes import Bench
from tests.proxy.frames import guard_close
from tests.proxy.limits import bandwidth, messages
from tests.proxy.tunnel import tunnel
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.waiting import eventually
from wsguard.policy.model import Limits, Messages, MessageType, OnExceed, PolicySpec, Rate, SlowConsumer, Unit
from wsguard.protocol.frames import message_frame
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy import limited
from wsguard.proxy.half import Half
from wsguard.proxy.keepalive import ping
from wsguard.proxy.limited import LEAVING, SHORTEST, LimitedHalf
from wsguard.proxy.tcp import Presence
from wsguard.proxy.watched import WatchedHalf

TEXT = wire.frame(wire.TEXT, b"hello")
CLOSE = wire.close_frame(1000)
KIBI = 1024


def bench(limits: Limits, early: bytes = b"") -> Bench:
    return Bench(PolicySpec(limits=limits), early=(b"", early))


def told(at: Bench, sent: bytes) -> tuple[tuple[int, str], tuple[int, str]]:
    """What client and backend are told, the latter behind `sent`."""
    assert at.to_backend[: len(sent)] == sent
    to_backend = wire.take_frame(bytearray(at.to_backend[len(sent) :]))
    to_client = wire.take_frame(bytearray(at.to_client))
    assert to_backend is not None
    assert to_client is not None
    return to_client.close, to_backend.close


def test_without_limits_nothing_is_in_the_way() -> None:
    """The hot path is the one that was measured."""
    plain = Bench()
    assert type(plain.client.half) is type(plain.backend.half) is Half
    slow = bench(Limits(slow_consumer=SlowConsumer(max_pause=30)))
    assert type(slow.client.half) is type(slow.backend.half) is WatchedHalf
    limited = bench(Limits(max_message_size=KIBI))
    assert type(limited.client.half) is LimitedHalf
    assert type(limited.backend.half) is Half


EXCESS = {
    "message-rate": (messages(10, 3), TEXT * 3, TEXT, 4429),
    "bandwidth": (bandwidth(KIBI, 3 * len(TEXT)), TEXT * 3, TEXT, 4429),
    "message-too-big": (Limits(max_message_size=KIBI), TEXT * 3, wire.frame(wire.TEXT, bytes(KIBI + 1)), 1009),
    "message-type-denied": (Limits(message_types=(MessageType.TEXT,)), TEXT * 3, wire.frame(wire.BINARY, b"x"), 1003),
}


@pytest.mark.parametrize("way", ["whole", "byte by byte", "early"])
@pytest.mark.parametrize("reason", EXCESS)
def test_what_is_too_much_is_cut_before_it_goes_on(reason: str, way: str) -> None:
    limits, good, excess, code = EXCESS[reason]
    stream = good + excess + TEXT
    at = bench(limits, early=stream if way == "early" else b"")
    size = 1 if way == "byte by byte" else len(stream)
    for start in range(0, 0 if way == "early" else len(stream), size):
        at.client.arrive(stream[start : start + size])
    assert told(at, good) == ((code, reason), (1001, reason))
    at.client.arrive(CLOSE)
    for transport in (at.client, at.backend):
        transport.lose(None)
    cause, delivery, traffic = at.end
    assert (cause.initiator, cause.reason.token, cause.code, delivery) == ("guard", reason, code, "acknowledged")
    assert traffic.bytes_from_client == len(good)
    assert cause.detail.startswith("the client sent ")


@pytest.mark.parametrize("reason", EXCESS)
def test_the_clients_close_behind_the_excess_is_its_reply(reason: str) -> None:
    """Sent before it could have read ours, in the same piece."""
    limits, good, excess, _ = EXCESS[reason]
    at = bench(limits)
    at.client.arrive(good + excess + CLOSE)
    assert at.client.eof_written
    assert told(at, good)[1] == (1001, reason)


@pytest.mark.parametrize("reason", EXCESS)
def test_an_audited_limit_is_told_of_once_and_everything_passes(reason: str) -> None:
    limits, good, excess, _ = EXCESS[reason]
    at = bench(limits)
    at.owner.audits = True
    at.client.arrive((good + excess) * 5)
    assert at.to_backend == (good + excess) * 5
    assert [each.token for each in at.owner.spared] == [reason]
    assert at.splice.state == "open"


@pytest.mark.parametrize("limits", [messages(10, 3, OnExceed.THROTTLE), bandwidth(KIBI, 40, OnExceed.THROTTLE)])
def test_under_audit_nobody_is_held_back(limits: Limits) -> None:
    at = bench(limits)
    at.owner.audits = True
    at.client.arrive(TEXT * 500)
    at.client.arrive(TEXT * 500)
    assert at.to_backend == TEXT * 1000
    assert at.client.reading
    assert len(at.owner.spared) == 1
    assert not at.owner.throttled


def test_a_rate_of_messages_is_refilled_by_time() -> None:
    at = bench(messages(10, 3))
    for _ in range(20):
        at.client.arrive(TEXT)
        at.now += 0.1
    assert at.splice.state == "open"
    at.client.arrive(TEXT * 4)
    assert told(at, TEXT * 23)[0] == (4429, "message-rate")


def test_a_frame_that_comes_in_pieces_is_one() -> None:
    at = bench(messages(1, 2))
    frame = wire.frame(wire.BINARY, bytes(10_000))
    for start in range(0, len(frame), 100):
        at.client.arrive(frame[start : start + 100])
    at.client.arrive(TEXT)
    assert at.to_backend == frame + TEXT
    at.client.arrive(TEXT)
    assert at.splice.state == "closing"


# Held back.


def test_a_client_that_is_held_back_is_not_read_and_comes_in_batches() -> None:
    at = bench(messages(10, 3, OnExceed.THROTTLE))
    at.client.arrive(TEXT * 10)
    assert at.to_backend == TEXT * 3
    assert not at.client.reading
    assert at.owner.throttled == [CloseReason.MESSAGE_RATE]
    at.now += SHORTEST
    at.loop.wake("_wake")
    assert at.to_backend == TEXT * 4
    at.now += 60.0
    at.loop.wake("_wake")
    assert at.to_backend == TEXT * 7, "the bucket holds no more than its burst"
    for _ in range(3):
        at.now += SHORTEST
        at.loop.wake("_wake")
    assert at.to_backend == TEXT * 10
    assert at.client.reading
    assert at.owner.throttled == [CloseReason.MESSAGE_RATE], "told once"
    assert at.backend.reading


@pytest.mark.parametrize("late", [0.0, 0.05])
def test_a_small_burst_does_not_lower_the_rate(late: float) -> None:
    """What a client has earned while it was held back is its own, though it comes in batches, and late."""
    at = bench(messages(1000, 1, OnExceed.THROTTLE))
    at.client.arrive(TEXT * 5000)
    assert at.to_backend == TEXT * 150
    for _ in range(20):
        at.now += SHORTEST + late
        at.loop.wake("_wake")
    assert len(at.to_backend) == pytest.approx(len(TEXT) * (150 + 1000 * 20 * (SHORTEST + late)), abs=len(TEXT))


def test_the_wait_is_as_long_as_the_rate_asks_and_not_too_short() -> None:
    for rate, wait in ((1, 1.0), (1000, SHORTEST)):
        at = bench(messages(rate, 1, OnExceed.THROTTLE))
        at.client.arrive(TEXT * 151)
        assert at.loop.timers[-1].when == pytest.approx(wait)


@pytest.mark.parametrize("on_exceed", OnExceed)
def test_a_cut_amid_a_frame_lets_the_rest_of_it_come_no_faster(on_exceed: OnExceed) -> None:
    """Whatever it is for: a client may know when it will be cut, and begin with a giant just before."""
    at = bench(bandwidth(100, 200, on_exceed))
    frame = wire.frame(wire.BINARY, bytes(300))
    at.client.arrive(frame[:200])
    at.splice.cut(CloseReason.LOGGED_OUT)
    at.client.arrive(frame[200:] + TEXT)
    assert at.to_backend == frame[:200]
    assert wire.take_frame(bytearray(at.to_client)).close == (4441, "logged-out")  # type: ignore[union-attr]
    at.now += 0.5
    at.loop.wake("_wake")
    assert at.to_backend == frame[:250]
    at.now += 1.0
    at.loop.wake("_wake")
    assert told(at, frame)[1] == (1001, "logged-out")
    assert at.client.reading


def test_a_cut_of_one_who_is_held_back_waits_no_longer_than_its_bandwidth_asks() -> None:
    """What was kept goes on: the backend gets the rest of the frame, and its Close behind it."""
    at = bench(bandwidth(KIBI, 200, OnExceed.THROTTLE))
    frame = wire.frame(wire.BINARY, bytes(300))
    at.client.arrive(frame + TEXT)
    assert at.to_backend == frame[:200]
    at.splice.cut(CloseReason.LOGGED_OUT)
    assert at.client.reading
    for _ in range(2):
        at.loop.wake("_wake")
        at.now += SHORTEST
    at.loop.wake("_wake")
    assert told(at, frame)[1] == (1001, "logged-out")
    assert guard_close(at.to_backend, frame + TEXT)


def test_a_frame_that_is_cut_amid_for_its_bandwidth_goes_on_no_faster() -> None:
    """Its end is what the Close to the backend waits for; the grace is not to be had at full speed."""
    at = bench(bandwidth(100, 200))
    frame = wire.frame(wire.BINARY, bytes(300))
    at.client.arrive(frame[:250])
    assert at.to_backend == frame[:200]
    assert wire.take_frame(bytearray(at.to_client)).close == (4429, "bandwidth")  # type: ignore[union-attr]
    assert not at.client.reading
    at.now += 0.5
    at.loop.wake("_wake")
    at.client.arrive(frame[250:] + TEXT)
    assert at.to_backend == frame[:250]
    at.now += 0.5
    at.loop.wake("_wake")
    assert at.to_backend == frame[:300]
    at.now += 0.1
    at.loop.wake("_wake")
    assert told(at, frame)[1] == (1001, "bandwidth")
    assert at.client.reading, "for the client's Close"
    at.client.arrive(CLOSE)
    for transport in (at.client, at.backend):
        transport.lose(None)
    assert at.end[1] == "acknowledged"


def test_a_frame_that_is_too_long_for_the_grace_does_not_end() -> None:
    at = bench(bandwidth(100, 200))
    frame = wire.frame(wire.BINARY, bytes(100_000))
    at.client.arrive(frame)
    at.now += 2.0
    at.loop.wake("_wake")
    at.loop.fire()
    for transport in (at.client, at.backend):
        transport.lose(None)
    assert at.to_backend == frame[:400]
    assert at.end[0].reason is CloseReason.BANDWIDTH
    assert all(timer.call is None for timer in at.loop.timers)


def test_a_close_that_is_held_back_is_found_when_the_connection_is_cut() -> None:
    at = bench(messages(1, 1, OnExceed.THROTTLE))
    at.client.arrive(TEXT * 5 + CLOSE)
    at.splice.cut(CloseReason.LOGGED_OUT)
    assert not at.client.eof_written
    at.loop.wake("_wake")
    assert at.client.eof_written, "it has said Close, and been told"
    assert told(at, TEXT)[1] == (1001, "logged-out")


@pytest.mark.parametrize("end", ["fin", "rst"])
def test_a_client_that_leaves_while_it_is_held_back(end: str) -> None:
    """A FIN waits behind what was sent; a reset leaves nothing to wait for."""
    at = bench(messages(10, 1, OnExceed.THROTTLE))
    at.client.arrive(TEXT * 2)
    if end == "rst":
        at.client.lose(ConnectionResetError())
        assert all(timer.call is None for timer in at.loop.timers if timer.name == "_wake")
        assert at.to_backend == TEXT
        return
    at.client.half.eof_received()  # of a transport that tells of it although it is not read
    assert not at.backend.eof_written
    at.now += 0.1
    at.loop.wake("_wake")
    assert at.to_backend == TEXT * 2
    assert at.backend.eof_written


@pytest.mark.parametrize("rate", [Rate(requests=10, unit=Unit.SECOND, burst=1), Rate(requests=1, unit=Unit.HOUR)])
async def test_a_reset_is_noticed_though_nobody_reads(
    backend: RecordingBackend, rate: Rate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what it left behind keeps its place for hours."""
    monkeypatch.setattr(limited, "LONGEST", 0.3)
    limits = Limits(messages=Messages(per_connection=rate, on_exceed=OnExceed.THROTTLE))
    async with tunnel(backend, PolicySpec(limits=limits)) as opened:
        half = opened.half("client")
        await opened.client.send(TEXT * 1000)
        await eventually(lambda: not half.transport.is_reading(), what="a client that is held back")
        opened.client.reset()
        assert (await opened.house.end()).reason is CloseReason.CLIENT_LOST


def test_a_fin_behind_what_is_held_back_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    at = bench(messages(1, 1, OnExceed.THROTTLE))
    at.client.arrive(TEXT * 1000)
    monkeypatch.setattr(limited, "presence", lambda transport: Presence.LEAVING)
    for _ in range(int(LEAVING)):
        at.now += 1.0
        at.loop.wake("_wake")
    assert at.to_backend == TEXT * int(LEAVING + 1)
    assert not at.client.aborted
    at.now += 1.0
    at.loop.wake("_wake")
    assert at.client.aborted


def test_two_causes_of_a_pause_are_two() -> None:
    """What one of them allows, the other does not."""
    at = bench(messages(10, 3, OnExceed.THROTTLE))
    at.client.arrive(TEXT * 20)
    assert not at.client.reading
    at.backend.half.pause_writing()
    at.now += 0.3
    at.loop.wake("_wake")
    assert at.to_backend == TEXT * 3, "a backend that does not keep up is not given more"
    at.backend.half.resume_writing()
    assert not at.client.reading
    at.now += 10
    for _ in range(7):
        at.now += 0.3
        at.loop.wake("_wake")
    assert at.to_backend == TEXT * 20
    assert at.client.reading


def test_a_client_that_is_held_back_leaves_between_messages() -> None:
    """Bringing it to rest does not pass what the limit keeps."""
    at = bench(messages(10, 1, OnExceed.THROTTLE))
    at.client.arrive(wire.frame(wire.TEXT, b"a", fin=False) + wire.frame(wire.CONTINUATION, b"b") + TEXT)
    at.splice.leave(CloseReason.DRAINING)
    assert at.splice.state == "open"
    at.now += 0.1
    at.loop.wake("_wake")
    assert at.splice.state == "closing"
    assert len(at.to_backend) > 0
    assert wire.take_frame(rest := bytearray(at.to_backend)) is not None
    assert (last := wire.take_frame(rest)) is not None
    assert last.fin
    assert (end := wire.take_frame(rest)) is not None
    assert end.close == (1001, "draining")


def test_what_is_held_back_comes_before_what_waits_for_the_end_of_a_rest() -> None:
    """A pong that may be an answer to the guard's ping is looked at whole, and then it is one too many."""
    at = bench(messages(10, 1, OnExceed.THROTTLE))
    client, backend = at.client.half, at.backend.half
    at.backend.arrive(wire.frame(wire.TEXT, b"a", fin=False, masked=False))
    at.client.arrive(TEXT)
    assert ping(client, backend)
    pong = wire.frame(wire.PONG, b"not ours")
    at.client.arrive(pong[:1])
    at.splice.leave(CloseReason.DRAINING)
    at.client.arrive(pong[1:] + TEXT + CLOSE)
    at.owner.audits = True  # and so it goes on after all
    for _ in range(5):
        at.now += 1
        at.loop.wake("_wake")
        at.loop.fire()
    assert at.to_backend == TEXT + pong + TEXT + CLOSE


def test_a_fin_waits_behind_what_waits_for_the_end_of_a_rest() -> None:
    at = bench(messages(10, 1, OnExceed.THROTTLE))
    at.backend.arrive(wire.frame(wire.TEXT, b"a", fin=False, masked=False))
    at.client.arrive(TEXT * 3)
    at.client.half.eof_received()
    at.splice.leave(CloseReason.DRAINING)
    at.now += 1
    at.loop.wake("_wake")
    assert at.splice.state == "open"
    at.owner.audits = True
    at.loop.fire()
    assert (at.to_backend, at.backend.eof_written) == (TEXT * 2, False)
    at.now += 1
    at.loop.wake("_wake")
    assert at.to_backend == TEXT * 3
    assert at.backend.eof_written


def test_what_comes_behind_the_excess_is_not_counted_as_passed() -> None:
    """A flood in the grace of a cut would drive up the count of messages."""
    at = bench(messages(10, 2))
    at.client.arrive(TEXT * 50)
    at.client.arrive(TEXT * 50)
    for transport in (at.client, at.backend):
        transport.lose(None)
    assert at.end[2].messages_from_client == 2


def test_a_message_of_the_guards_own_reaches_a_client_that_is_held_back() -> None:
    at = bench(messages(10, 1, OnExceed.THROTTLE))
    at.client.arrive(TEXT * 5)
    at.splice.interject(lambda: message_frame("hint"))
    assert at.to_client == message_frame("hint")


LIMITS = st.sampled_from(
    [
        messages(5, 2, OnExceed.THROTTLE),
        bandwidth(KIBI, 300, OnExceed.THROTTLE),
        messages(5, 4),
        bandwidth(KIBI, KIBI),
        Limits(max_message_size=KIBI, slow_consumer=SlowConsumer(max_pause=5, buffer_limit=65_536)),
        messages(5, 2, OnExceed.THROTTLE).model_copy(update={"slow_consumer": SlowConsumer(max_pause=1)}),
    ]
)
FRAMES = st.lists(
    st.sampled_from([(wire.TEXT, 5), (wire.PING, 1), (wire.BINARY, 900), (wire.BINARY, 2000), (wire.TEXT, 5)]),
    max_size=12,
)
ACTS = st.lists(
    st.tuples(
        st.sampled_from(["bytes", "bytes", "bytes", "time", "time", "stall", "unstall", "leave", "cut", "fin", "rst"]),
        st.sampled_from([1, 7, 60, 500, 10**6]),
    ),
    min_size=4,
    max_size=24,
)


def unmoving(opcode: int, size: int) -> bytes:
    """A masked frame that is the same each time."""
    plain = wire.frame(opcode, bytes(size), masked=False)
    head = plain[: len(plain) - size]
    return bytes((head[0], head[1] | 0x80, *head[2:])) + bytes(4 + size)


HAPPEN: dict[str, Callable[[Bench], None]] = {
    "stall": lambda at: setattr(at.backend, "stalled", True),
    "unstall": lambda at: at.backend.unstall(),
    "leave": lambda at: at.splice.leave(CloseReason.DRAINING),
    "cut": lambda at: at.splice.cut(CloseReason.LOGGED_OUT),
    "fin": lambda at: at.client.fin(),
    "rst": lambda at: at.client.lose(ConnectionResetError()),
}


@given(LIMITS, FRAMES, ACTS, st.booleans())
def test_any_order_of_events(
    limits: Limits, sent: list[tuple[int, int]], acts: list[tuple[str, int]], audits: bool
) -> None:
    """What the backend gets is a beginning of what was sent, in whole frames and a Close; and it always ends."""
    stream, at = b"".join(unmoving(*each) for each in sent), bench(limits)
    at.owner.audits = audits
    place = 0
    for act, size in acts:
        if act == "bytes" and at.client.hears:
            at.client.arrive(stream[place : place + size])
            place += size
        elif act == "time":
            at.now += size / 60
            at.loop.wake("_wake")
            at.loop.wake("_look")
        elif act != "bytes":
            HAPPEN[act](at)
    close = guard_close(at.to_backend, stream)
    if at.splice.state == "open" and not audits:
        assert not close
    if at.splice.state == "open":
        at.backend.unstall()
        for _ in range(60):
            if at.client.hears:
                at.client.arrive(stream[place:])
                place = len(stream)
            at.now += 60
            at.loop.wake("_wake")
            at.loop.fire()
        if at.splice.state == "open":
            assert at.client.reading, "nobody is forgotten"
            assert at.to_backend == stream
            at.client.lose(None)
    at.loop.fire()
    at.loop.fire()
    for transport in (at.client, at.backend):
        transport.lose(None)
    assert at.splice.state == "ended"
    assert all(timer.call is None for timer in at.loop.timers)
    assert len(at.owner.ends) == 1


def test_bytes_that_come_amid_a_call_of_their_own_are_in_order_and_charged_once() -> None:
    """Whoever takes a frame out of the stream gives the half what stood behind it, from within its own call."""
    at = bench(bandwidth(400, 60, OnExceed.THROTTLE))
    half = at.client.half
    assert isinstance(half, LimitedHalf)
    write = at.backend.write
    frames = [wire.frame(wire.TEXT, bytes([n])) for n in range(9)]

    def amid(data: bytes) -> None:
        at.backend.write = write  # type: ignore[method-assign]
        write(data)
        half.data_received(frames[1])

    at.backend.write = amid  # type: ignore[method-assign]
    at.client.arrive(frames[0])
    for frame in frames[2:]:
        at.client.arrive(frame)
    assert at.to_backend == b"".join(frames)[:60]
    at.now += 1.0
    at.loop.wake("_wake")
    assert at.to_backend == b"".join(frames)
