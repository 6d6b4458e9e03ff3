"""Pings of the guard's own: where they stand, that nobody else learns of them, and who is taken for dead."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.proxy.fakes import Bench, FakeClock, FakeLoop, FakeTransport
from tests.proxy.tunnel import QUICK, record, text, tunnel
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.waiting import eventually, stays
from wsguard.policy.model import Enforcement, KeepAlive, PolicySpec
from wsguard.protocol.closing import close_frame
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.scanner import FrameScanner, Sender
from wsguard.proxy.half import Half
from wsguard.proxy.keepalive import HANDFUL, MOST_DUE, TICK, Keepalive, ping
from wsguard.proxy.rest import Stop

BOTH = KeepAlive(client_ping_interval=10.0, backend_ping_interval=10.0, timeout=5.0)


def down(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    return wire.frame(opcode, payload, fin=fin, masked=False)


def up(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    return wire.frame(opcode, payload, fin=fin)


class Watched:
    """A bench whose sides are kept alive, on a clock that the test turns."""

    def __init__(self, spec: KeepAlive = BOTH) -> None:
        self.bench, self.clock, self.pinged = Bench(), FakeClock(), list[str]()
        loop = cast("asyncio.AbstractEventLoop", FakeLoop())
        self.keepalive = Keepalive(loop, self.clock, Random(1), self.pinged.append)
        self.keepalive.watch("c1", self.bench.splice, spec)

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.5)):
            self.clock.monotonics += 0.5
            self.keepalive.check()


def own_ping(sent: bytes) -> wire.Frame:
    """The last frame in `sent`, a ping of the guard's."""
    frames = frames_of(sent)
    assert frames[-1].opcode == wire.PING
    assert len(frames[-1].payload) == 8
    return frames[-1]


def frames_of(data: bytes) -> list[wire.Frame]:
    rest, frames = bytearray(data), []
    while rest:
        frame = wire.take_frame(rest)
        assert frame is not None, "half a frame"
        frames.append(frame)
    return frames


def test_either_side_is_pinged_and_the_other_hears_nothing_of_it() -> None:
    watched = Watched()
    bench = watched.bench
    watched.pass_time(10)
    assert sorted(watched.pinged) == ["backend", "client"]
    for_client, for_backend = own_ping(bench.to_client), own_ping(bench.to_backend)
    assert for_client.mask is None
    assert for_backend.mask is not None
    assert for_client.payload != for_backend.payload
    bench.client.arrive(up(wire.PONG, for_client.payload) + up(wire.TEXT, b"up"))
    bench.backend.arrive(down(wire.TEXT, b"down") + down(wire.PONG, for_backend.payload))
    assert [frame.payload for frame in frames_of(bench.to_backend)][1:] == [b"up"]
    assert [frame.payload for frame in frames_of(bench.to_client)][1:] == [b"down"]
    traffic = bench.splice.traffic()
    assert traffic.bytes_from_client == len(up(wire.TEXT, b"up"))
    assert traffic.bytes_from_backend == len(down(wire.TEXT, b"down"))
    watched.pass_time(10)
    assert len({frame.mask for frame in frames_of(bench.to_backend) if frame.opcode == wire.PING}) == 2


def test_off_is_off() -> None:
    watched = Watched(KeepAlive())
    assert len(watched.keepalive) == 0
    watched.pass_time(100)
    assert watched.bench.to_client == watched.bench.to_backend == b""


def test_between_fragments_but_not_inside_a_frame() -> None:
    watched = Watched(KeepAlive(client_ping_interval=10.0, timeout=5.0))
    bench = watched.bench
    part = down(wire.TEXT, b"a" * 50, fin=False)
    bench.backend.arrive(part[:20])
    watched.pass_time(14)
    assert bench.to_client == part[:20]
    bench.backend.arrive(part[20:])
    watched.pass_time(2)
    assert bench.to_client.startswith(part)
    payload = own_ping(bench.to_client).payload
    half = up(wire.TEXT, b"b", fin=False)
    bench.client.arrive(half + up(wire.PONG, payload))
    assert bench.to_backend == half


def test_a_pong_in_two_segments_is_taken_out() -> None:
    watched = Watched()
    bench = watched.bench
    watched.pass_time(10)
    before = bench.to_backend
    pong = up(wire.PONG, own_ping(bench.to_client).payload)
    for byte in pong + up(wire.PONG, b"12345678"):
        bench.client.arrive(bytes([byte]))
    assert [frame.payload for frame in frames_of(bench.to_backend[len(before) :])] == [b"12345678"]


def test_pings_of_the_application_go_on_working() -> None:
    """Its own ping is answered first, and its pong passes, also where it says the same as ours did."""
    watched = Watched(KeepAlive(client_ping_interval=10.0, timeout=5.0))
    bench = watched.bench
    watched.pass_time(4.5)
    bench.backend.arrive(down(wire.PING, b"app"))
    watched.pass_time(5)
    assert len(watched.pinged) == 0
    bench.client.arrive(up(wire.PONG, b"app"))
    assert [frame.payload for frame in frames_of(bench.to_backend)] == [b"app"]
    watched.pass_time(10)
    ours = own_ping(bench.to_client).payload
    bench.backend.arrive(down(wire.PING, b"next"))
    bench.client.arrive(up(wire.PONG, b"next"))  # the most recent one only (RFC 6455 §5.5.3)
    assert [frame.payload for frame in frames_of(bench.to_backend)] == [b"app", b"next"]
    bench.client.arrive(up(wire.PING, ours))
    assert frames_of(bench.to_backend)[-1].payload == ours
    watched.pass_time(4)
    assert bench.splice.state == "open"


def test_pongs_do_not_count_against_idleness() -> None:
    watched = Watched()
    bench = watched.bench
    bench.client.arrive(up(wire.TEXT, b"begun", fin=False))
    bench.backend.arrive(down(wire.TEXT, b"begun", fin=False))
    bench.now = 7.0
    watched.pass_time(10)
    bench.client.arrive(up(wire.PONG, own_ping(bench.to_client).payload))
    bench.backend.arrive(down(wire.PONG, own_ping(bench.to_backend).payload))
    assert bench.splice.last_message_at == 0.0


def test_a_client_that_vanished_is_a_plain_end_at_the_backend() -> None:
    watched = Watched(KeepAlive(client_ping_interval=10.0, timeout=5.0))
    bench = watched.bench
    watched.pass_time(15)
    assert bench.client.aborted
    bench.client.lose(None)
    assert bench.to_backend == b""
    assert bench.backend.eof_written
    bench.backend.fin()
    bench.backend.lose(None)
    cause, delivery, _ = bench.end
    assert (cause.initiator, cause.reason, cause.code) == ("client", CloseReason.KEEPALIVE_TIMEOUT, 0)
    assert cause.detail.startswith("the client has vanished")
    assert delivery == "none"


def test_for_a_backend_that_vanished_the_client_is_told_that_it_is_lost() -> None:
    watched = Watched(KeepAlive(backend_ping_interval=10.0, timeout=5.0))
    bench = watched.bench
    watched.pass_time(15)
    assert bench.backend.aborted
    bench.backend.lose(None)
    assert bench.to_client == close_frame(1014, "backend-lost")
    bench.client.arrive(up(wire.CLOSE, b"\x03\xf6"))
    bench.client.fin()
    bench.client.lose(None)
    cause, delivery, _ = bench.end
    assert (cause.initiator, cause.reason, cause.code) == ("backend", CloseReason.KEEPALIVE_TIMEOUT, 1014)
    assert delivery == "acknowledged"


def test_an_owner_that_only_audits_is_asked_once_a_silence() -> None:
    watched = Watched()
    bench, asked = watched.bench, list[CloseReason]()

    def spare(reason: CloseReason, crowd: int | None = None) -> None:
        asked.append(reason)

    bench.owner.close_for = spare  # type: ignore[method-assign]
    watched.pass_time(100)
    assert bench.splice.state == "open"
    assert asked == [CloseReason.KEEPALIVE_TIMEOUT] * 2
    assert sorted(watched.pinged) == ["backend", "client"]


def test_to_a_client_that_does_not_read_nothing_is_added() -> None:
    watched = Watched(KeepAlive(client_ping_interval=10.0, timeout=5.0))
    bench = watched.bench
    bench.client.stalled = True
    message = down(wire.TEXT, b"x" * 200)
    bench.backend.arrive(message)
    watched.pass_time(1000)
    assert bench.to_client == message
    assert bench.splice.state == "open"
    bench.client.unstall()
    watched.pass_time(2)
    own_ping(bench.to_client)


def test_a_client_whose_pong_waits_for_a_slow_backend_lives() -> None:
    watched = Watched(KeepAlive(client_ping_interval=10.0, timeout=5.0))
    bench = watched.bench
    watched.pass_time(10)
    own_ping(bench.to_client)
    bench.backend.stalled = True
    bench.client.arrive(up(wire.TEXT, b"x" * 200))
    assert not bench.client.reading
    watched.pass_time(1000)
    assert bench.splice.state == "open"


def test_nothing_is_added_to_an_extension_that_nobody_knows() -> None:
    watched = Watched()
    bench = watched.bench
    for half in bench.splice.halves() or ():
        half.scanner = FrameScanner(Sender.CLIENT if half.is_client else Sender.BACKEND, reserved=0x70)
    watched.pass_time(1000)
    assert bench.to_client == bench.to_backend == b""
    assert bench.splice.state == "open"


def test_nothing_stands_behind_a_close() -> None:
    bench = Bench()
    client, backend = bench.splice.halves() or pytest.fail("no halves")
    bench.splice.cut(CloseReason.TERMINATED)
    assert not ping(client, backend)
    assert not ping(backend, client)
    assert bench.splice.halves() is None


def test_a_pong_while_a_cut_waits_and_while_a_rest_is_made() -> None:
    watched = Watched()
    bench = watched.bench
    watched.pass_time(10)
    ours = own_ping(bench.to_client).payload
    message = up(wire.TEXT, b"m" * 40)
    bench.client.arrive(message[:10])
    bench.splice.leave(CloseReason.DRAINING, crowd=1)
    assert isinstance(cast("Any", bench.client.half), Stop)
    before = len(bench.to_backend)
    bench.client.arrive(message[10:])
    assert bench.splice.state == "closing"
    assert frames_of(bench.to_backend[before - 10 :])[0].payload == b"m" * 40
    bench.client.arrive(up(wire.PONG, ours) + up(wire.CLOSE, b"\x03\xe8"))
    assert bench.splice.state == "closing"
    assert ours not in [frame.payload for frame in frames_of(bench.to_backend)]


def test_a_rest_lets_our_pong_come_and_holds_what_is_behind_it() -> None:
    watched = Watched()
    bench = watched.bench
    watched.pass_time(10)
    ours = own_ping(bench.to_client).payload
    long = down(wire.TEXT, b"d" * 60)
    bench.backend.arrive(long[:10])
    bench.client.arrive(up(wire.PONG, ours)[:4])
    bench.splice.leave(CloseReason.DRAINING, crowd=1)
    assert bench.splice.state == "open"
    bench.backend.arrive(long[10:])
    assert bench.splice.state == "open", "half a pong is no rest"


def test_a_guard_that_was_frozen_hears_what_was_said_meanwhile_before_it_judges(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its timers run before its sockets are read (SIGSTOP, a paused container, a machine that is moved)."""
    watched = Watched(KeepAlive(client_ping_interval=10.0, timeout=5.0))
    bench, clock, keepalive = watched.bench, watched.clock, watched.keepalive
    loop = cast("FakeLoop", keepalive._loop)
    monkeypatch.setattr(loop, "time", clock.monotonic, raising=False)
    keepalive.start()
    while not bench.to_client:
        clock.monotonics += TICK
        loop.wake("_tick")
    clock.monotonics += 60
    loop.wake("_tick")
    assert bench.splice.state == "open"
    bench.client.arrive(up(wire.PONG, own_ping(bench.to_client).payload))
    loop.wake("_tick")
    assert bench.splice.state == "open"
    assert not bench.client.aborted
    clock.monotonics += TICK
    loop.wake("_tick")
    keepalive.stop()


def test_ten_thousand_are_spread_and_one_tick_has_an_end() -> None:
    class Silent:
        """A connection that is looked at."""

        looks = 0

        def halves(self) -> None:
            Silent.looks += 1

        def vanished(self, half: Half, detail: str) -> None:
            raise AssertionError

    clock = FakeClock()
    keepalive = Keepalive(cast("asyncio.AbstractEventLoop", FakeLoop()), clock, Random(1), lambda side: None)
    spec = KeepAlive(client_ping_interval=30.0)
    for number in range(10_000):
        keepalive.watch(str(number), Silent(), spec)
    for _ in range(round(15.0 / TICK)):
        before = Silent.looks
        clock.monotonics += TICK
        keepalive.check()
        assert Silent.looks - before <= HANDFUL
    assert Silent.looks >= 9_900
    for number in range(10_000):
        keepalive.forget(str(number))
    assert len(keepalive) == 0


def test_another_policy_is_followed_and_a_renewal_changes_nothing() -> None:
    watched = Watched(KeepAlive(client_ping_interval=10.0))
    watched.pass_time(4)
    watched.keepalive.watch("c1", watched.bench.splice, KeepAlive(client_ping_interval=10.0))
    watched.pass_time(6)
    assert watched.pinged == ["client"]
    watched.keepalive.watch("c1", watched.bench.splice, KeepAlive(backend_ping_interval=10.0))
    watched.pass_time(10)
    assert watched.pinged == ["client", "backend"]
    assert len(watched.keepalive) == 1


PEER = st.sampled_from(["client", "backend"])
ACTS = st.lists(
    st.one_of(
        st.tuples(PEER, st.sampled_from(["ping us", "answer", "answer"]), st.just(b"")),
        st.tuples(PEER, st.sampled_from(["data", "fragment", "ping", "pong"]), st.binary(max_size=125)),
    ),
    max_size=40,
)


class Talk:
    """What two peers say at once, on its way in pieces. Names are of the side that speaks."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.on_its_way = {"client": b"", "backend": b""}
        self.said = {"client": b"", "backend": b""}  # less the pongs that are ours
        self.in_message = {"client": False, "backend": False}
        self.pinged, self.answered = {"client": 0, "backend": 0}, {"client": 0, "backend": 0}

    def halves(self, side: str) -> tuple[Half, Half]:
        client, backend = self.bench.splice.halves() or pytest.fail("no halves")
        return (client, backend) if side == "client" else (backend, client)

    def act(self, side: str, act: str, payload: bytes) -> None:
        half, other = self.halves(side)
        match act:
            case "ping us" if self.pinged[side] < MOST_DUE:
                self.pinged[side] += ping(half, other)
            case "answer" if self.answered[side] < self.pinged[side]:
                self.answered[side] += 1
                self.say(side, wire.PONG, half.scanner.own_pong, is_ours=True)
            case "data" | "fragment":
                opcode = wire.CONTINUATION if self.in_message[side] else wire.BINARY
                self.in_message[side] = act == "fragment"
                self.say(side, opcode, payload, fin=act == "data")
            case "ping" | "pong":
                self.say(side, wire.PING if act == "ping" else wire.PONG, payload)

    def say(self, side: str, opcode: int, payload: bytes, *, fin: bool = True, is_ours: bool = False) -> None:
        data = wire.frame(opcode, payload, fin=fin, masked=side == "client")
        self.on_its_way[side] += data
        self.said[side] += b"" if is_ours else data

    def move(self, side: str, most: int) -> None:
        data, self.on_its_way[side] = self.on_its_way[side][:most], self.on_its_way[side][most:]
        if data:
            (self.bench.client if side == "client" else self.bench.backend).arrive(data)

    def heard(self, side: str) -> tuple[bytes, int]:
        """What `side` was sent, less the guard's pings; and how many those were."""
        ours = self.halves(side)[0].scanner.own_pong
        rest = bytearray(self.bench.to_client if side == "client" else self.bench.to_backend)
        passed, pings = b"", 0
        while rest:
            before = bytes(rest)
            frame = wire.take_frame(rest)
            assert frame is not None, "half a frame"
            if ours and frame.opcode == wire.PING and frame.payload == ours:
                pings += 1
            else:
                passed += before[: len(before) - len(rest)]
        return passed, pings


@settings(max_examples=60)
@given(ACTS, st.lists(st.integers(1, 50), max_size=60))
def test_each_side_hears_exactly_the_other_and_our_pings(acts: list[tuple[str, str, bytes]], sizes: list[int]) -> None:
    """Bytes come in any pieces, answers amid everything: what is passed on is the stream less our own pongs."""
    talk, cuts = Talk(), iter(sizes)
    for side, act, payload in acts:
        talk.act(side, act, payload)
        talk.move(side, next(cuts, 10_000))
    for side in ("client", "backend"):
        talk.move(side, 10**6)
    assert talk.heard("backend") == (talk.said["client"], talk.pinged["backend"])
    assert talk.heard("client") == (talk.said["backend"], talk.pinged["client"])
    assert talk.bench.splice.state == "open"


def test_a_flood_of_our_own_pongs_passes_like_any_other() -> None:
    bench = Bench()
    client, backend = bench.splice.halves() or pytest.fail("no halves")
    for _ in range(100):
        assert ping(client, backend)
    pong = up(wire.PONG, client.scanner.own_pong)
    bench.client.arrive(pong * 20_000)
    assert bench.to_backend == pong * (20_000 - MOST_DUE)


async def test_over_real_sockets(backend: RecordingBackend) -> None:
    spec = PolicySpec(rejection=QUICK, keep_alive=KeepAlive(client_ping_interval=0.4, backend_ping_interval=0.4))
    async with tunnel(backend, spec) as opened:
        for _ in range(3):
            asked = await opened.client.frame()
            assert (asked.opcode, asked.mask, len(asked.payload)) == (wire.PING, None, 8)
            await opened.client.send(wire.frame(wire.PONG, asked.payload))
            told = await opened.far.frame()
            assert told.opcode == wire.PING
            assert told.mask is not None
            await opened.far.send(wire.frame(wire.PONG, told.payload, masked=False))
        await opened.client.send(text(b"hello", masked=True))
        while (heard := await opened.far.frame()).opcode == wire.PING:
            pass
        assert heard.payload == b"hello"
        traffic = opened.splice.traffic()
        assert traffic.bytes_from_backend == 0
        assert traffic.messages_from_client == 1
        assert {*opened.house.notebook.pings} == {"client", "backend"}


async def test_who_only_speaks_tcp_and_answers_no_ping_is_ended(backend: RecordingBackend) -> None:
    """As a process that hangs: its kernel acknowledges, and nobody is at home."""
    spec = PolicySpec(rejection=QUICK, keep_alive=KeepAlive(client_ping_interval=0.2, timeout=0.3))
    async with tunnel(backend, spec) as opened:
        assert await opened.far.until_ended() == "fin"
        assert opened.far.tail == b""
        opened.far.close()
        assert await record(opened) == ("client", "keepalive-timeout", 0, "open", "none")
    backend.reset()
    spec = PolicySpec(rejection=QUICK, keep_alive=KeepAlive(backend_ping_interval=0.2, timeout=0.3))
    async with tunnel(backend, spec) as opened:
        code, reason = await opened.client.close_frame()
        assert (code, reason.split()[0]) == (1014, "backend-lost")
        assert await opened.far.until_ended() == "rst"
        assert (await record(opened))[:4] == ("backend", "keepalive-timeout", 1014, "open")


async def test_under_audit_it_lives(backend: RecordingBackend) -> None:
    keep_alive = KeepAlive(client_ping_interval=0.2, timeout=0.2)
    spec = PolicySpec(rejection=QUICK, keep_alive=keep_alive, enforcement=Enforcement.AUDIT)
    async with tunnel(backend, spec) as opened:
        notebook = opened.house.notebook
        await eventually(lambda: notebook.spares, what="the record of what was spared")
        assert notebook.spares == [(opened.connection.id, CloseReason.KEEPALIVE_TIMEOUT)]
        assert opened.splice.state == "open"


async def test_megabytes_before_the_ping_are_no_death(backend: RecordingBackend) -> None:
    """A client that reads nothing for a while, with more than a timeout's worth before it, and then everything."""
    spec = PolicySpec(rejection=QUICK, keep_alive=KeepAlive(client_ping_interval=0.2, timeout=0.3))
    async with tunnel(backend, spec, receive_buffer=4096) as opened:
        message = down(wire.BINARY, b"x" * 60_000)
        sending = asyncio.create_task(opened.far.send(message * 150))
        await stays(lambda: opened.splice.state == "open", 1.5)
        read = 0
        while read < 150:
            frame = await opened.client.frame()
            read += frame.opcode == wire.BINARY
            if frame.opcode == wire.PING:
                await opened.client.send(wire.frame(wire.PONG, frame.payload))
        await sending
        assert opened.splice.state == "open"


async def test_an_extension_that_nobody_knows_over_sockets(backend: RecordingBackend) -> None:
    backend.answer = answers.accept(extensions="x-multiplexed")
    spec = PolicySpec(rejection=QUICK, keep_alive=KeepAlive(client_ping_interval=0.1, timeout=0.1))
    async with tunnel(backend, spec, handshake=wire.upgrade(extensions="x-multiplexed")) as opened:
        await stays(lambda: opened.splice.state == "open", 0.6)
        assert opened.house.notebook.pings == []


def test_a_transport_that_is_ending_is_not_written_to() -> None:
    bench = Bench()
    client, backend = bench.splice.halves() or pytest.fail("no halves")
    transport = cast("FakeTransport", client.transport)
    transport.closing = True
    assert not ping(client, backend)
