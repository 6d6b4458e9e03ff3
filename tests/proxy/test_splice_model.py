"""Any order of bytes, stalls, FINs, losses, cuts and timers: what each peer is sent stays a stream of whole frames."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.proxy.fakes import Bench, FakeTransport
from tests.proxy.frames import frame, guard_close
from tests.support import wire
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy.rest import Stop


def streams(masked: bool) -> st.SearchStrategy[bytes]:
    """Legal frames, long and short; perhaps a Close, perhaps nonsense behind them."""
    size = st.sampled_from([0, 3, 126, 1_000, 70_000, 150_000])
    data = size.map(lambda n: frame(wire.BINARY, bytes(n), masked))
    ping = st.just(frame(wire.PING, b"p", masked))
    last = st.sampled_from(
        [
            b"",
            frame(wire.CLOSE, b"\x03\xe8bye", masked),
            frame(wire.CLOSE, b"", masked),
            frame(wire.TEXT, b"bad", not masked),
        ]
    )
    return st.builds(lambda frames, end: b"".join(frames) + end, st.lists(data | ping, max_size=2), last)


PEERS = st.sampled_from(["client", "backend"])
BYTES = st.tuples(PEERS, st.just("bytes"), st.sampled_from([1, 7, 500, 66_000, 10**6]))
OTHER = ["fin", "stall", "unstall", "cut", "cut", "leave", "leave", "timer", "rst", "tick"]
ACTS = st.lists(BYTES | BYTES | st.tuples(PEERS, st.sampled_from(OTHER), st.just(0)), min_size=6, max_size=20)


@given(streams(True), streams(False), ACTS)
def test_any_order_of_events(from_client: bytes, from_backend: bytes, acts: list[tuple[str, str, int]]) -> None:
    bench = Bench()
    transports = {"client": bench.client, "backend": bench.backend}
    streams = {"client": from_client, "backend": from_backend}
    at = {"client": 0, "backend": 0}
    for side, act, size in acts:
        transport = transports[side]
        if act == "bytes" and transport.hears and at[side] < len(streams[side]):
            chunk = streams[side][at[side] : at[side] + size]
            at[side] += len(chunk)
            transport.arrive(chunk)
        elif act == "cut":
            bench.splice.cut(CloseReason.SESSION_EXPIRED)
        elif act == "leave":
            bench.splice.leave(CloseReason.DRAINING)
        elif act == "timer":
            bench.loop.fire()
        else:
            _happen(transport, act)
        _check_reading(bench)
        if bench.splice.state not in ("open", "ended"):
            assert bench.loop.armed is not None
    _finish(bench)
    for sent, source, masked in ((bench.to_client, from_backend, False), (bench.to_backend, from_client, True)):
        close = guard_close(sent, source)
        if close:
            read = wire.take_frame(bytearray(close))
            assert read is not None
            assert (read.mask is not None) == masked


def _check_reading(bench: Bench) -> None:
    """A side is unread only for the sake of another that does not keep up; and while open, always then."""
    for transport, other in ((bench.client, bench.backend), (bench.backend, bench.client)):
        if transport.closing or transport.eof_seen:
            continue
        if isinstance(transport.half, Stop):
            assert transport.reading or transport.half.has_stopped or other.over_high_water
            assert bench.loop.armed is not None, "held back, but not for long"
            continue
        if not transport.reading:
            assert other.over_high_water
            assert transport.half.sink is other.half
        elif bench.splice.state == "open":
            assert not other.over_high_water


def _happen(transport: FakeTransport, act: str) -> None:
    if act == "fin":
        transport.fin()
    elif act == "stall":
        transport.stalled = True
    elif act == "unstall":
        transport.unstall()
    elif act == "rst":
        transport.lose(ConnectionResetError())
    elif act == "tick" and transport.closing and not transport.queued:
        transport.lose(None)


def _finish(bench: Bench) -> None:
    """Whatever happened, both peers being gone or silent ends it; once."""
    if bench.splice.state == "open":
        bench.client.lose(None)
    bench.loop.fire()
    assert bench.splice.state == "ended"
    for transport in (bench.client, bench.backend):
        assert transport.gone or transport.closing, "a transport outlived its connection"
        transport.lose(None)
    assert bench.loop.armed is None
    assert len(bench.owner.ends) == 1
