"""Any order of bytes, losses, returns and endings: what each side is sent stays whole, and nothing comes twice."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.proxy.fakes import Bench, FakeTransport
from tests.proxy.frames import frame
from tests.support import wire
from wsguard.policy.model import Metadata, PolicySpec, WebSocketPolicy
from wsguard.policy.model_hold import BackendLoss, Hold, Replay
from wsguard.protocol.bearing import HeldProtocol
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.scanner import FrameScanner, Sender
from wsguard.proxy.half import Half
from wsguard.proxy.holding import ClientKeeper

HOLD = Hold(
    protocol=HeldProtocol.CUSTOM,
    hint="replaced",
    buffer=100_000,
    replay=Replay(messages=4, json_path="type", values=("subscribe",)),
)
POLICY = WebSocketPolicy(metadata=Metadata(name="p"), spec=PolicySpec(backend_loss=BackendLoss.HOLD, hold=HOLD))


class Silent:
    """Takes whatever it is told."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


class World(Bench):
    """A bench whose client is kept: the test says when a backend comes."""

    def __init__(self) -> None:
        super().__init__(begin=False)
        self.backends = [self.backend]
        self.store = SimpleNamespace(
            is_full=False, keep=self._keep, enter=self._enter, leave=self._leave, ask=self._ask
        )
        self.kept, self.held, self.asked = 0, 0, 0
        env = SimpleNamespace(
            loop=SimpleNamespace(call_later=lambda *_: SimpleNamespace(cancel=lambda: None)),
            clock=SimpleNamespace(monotonic=lambda: 0.0),
            observer=Silent(),
            redialer=self.store,
            is_draining=lambda: False,
        )
        connection = SimpleNamespace(id="c", policy="p", backend="b")
        admission = SimpleNamespace(policy=POLICY, connection=connection, rejoin=lambda _: None)
        self.keeper = ClientKeeper(
            cast("Any", env), cast("Any", admission), cast("Any", None), cast("Any", None), "", HOLD, self._new_half
        )
        self.splice.keep(self.keeper)
        self.splice.begin(b"", b"")

    def _new_half(self) -> Half:
        return Half(self.splice, FrameScanner(Sender.BACKEND), is_client=False)

    def _keep(self, size: int) -> None:
        self.kept += size
        assert self.kept >= 0

    def _enter(self, _: object) -> None:
        self.held += 1

    def _leave(self, _: object) -> None:
        self.held -= 1

    def _ask(self, *_: object) -> None:
        self.asked += 1

    def comes_back(self) -> None:
        """Another backend is there, if one was asked for."""
        absence = self.keeper._absence
        if absence is None or not absence.held.mailbox.is_whole:
            return
        self.backend = FakeTransport()
        self.backend.reading = False
        self.backends.append(self.backend)
        self.keeper._join(absence, cast("asyncio.Transport", self.backend), b"", "b")


def message(number: int, size: int) -> bytes:
    """The `number`th of the client's: some that may be repeated, in fragments or not, with a Ping here and there."""
    if number % 3 == 0:
        return frame(wire.TEXT, b'{"type":"subscribe","n":%d}' % number, True)
    body = b"%d " % number + bytes(size)
    if number % 3 == 1:
        return frame(wire.BINARY, body, True)
    first, rest = wire.frame(wire.BINARY, body[:1], fin=False), wire.frame(wire.CONTINUATION, body[1:])
    return first + frame(wire.PING, b"p", True) + rest


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.sampled_from([1, 5, 60, 5_000, 10**6])),
        st.tuples(st.just("tell"), st.sampled_from([1, 3, 10**6])),
        st.tuples(st.sampled_from(["rst", "fin", "restart", "back", "back", "stall", "unstall"]), st.just(0)),
    ),
    max_size=30,
)
AGAIN = [("back", 0), ("rst", 0), ("back", 0)]
ENDS = st.sampled_from(["cut", "leave", "close", "client-rst", "client-fin", "give-up"])
SIZES = st.lists(st.sampled_from([0, 100, 70_000]), min_size=1, max_size=6)


@settings(max_examples=150)
@example([0, 100, 0, 0], [("say", 60), ("rst", 0), ("say", 10**6), *AGAIN], "cut")  # amid a message
@example([0, 100, 0, 0], [("say", 33), ("rst", 0), ("back", 0), ("say", 10**6), *AGAIN[1:]], "cut")  # amid a header
@given(SIZES, ACTS, ENDS)
def test_any_order_of_events(sizes: list[int], acts: list[tuple[str, int]], end: str) -> None:
    world = World()
    from_client = b"".join(message(number, size) for number, size in enumerate(sizes))
    said, told = 0, 0
    news = [frame(wire.TEXT, b"news %d" % number, False) for number in range(20)]
    from_backend = b"".join(news)
    for act, size in acts:
        client, backend = world.client, world.backend
        if act == "say" and client.hears:
            client.arrive(from_client[said : said + size])
            said = min(said + size, len(from_client))
        elif act == "tell" and backend.hears and world.splice.state == "open":
            backend.arrive(from_backend[told : told + size])
            told = min(told + size, len(from_backend))
        elif act == "rst":
            backend.lose(ConnectionResetError())
        elif act == "fin":
            backend.fin()
        elif act == "restart" and told in _boundaries(news):
            backend.arrive(wire.close_frame(1012, masked=False))
        elif act == "back":
            if world.splice.state == "held":
                told = next(at for at in _boundaries(news) if at >= told)
            world.comes_back()
        elif act == "stall":
            client.stalled = True
        elif act == "unstall":
            client.unstall()
        assert world.held == (world.splice.state == "held")
        if world.splice.state == "open":
            assert world.kept == 0
    _finish(world, end, from_client[said:])
    _check(world, [message(number, size) for number, size in enumerate(sizes)])


def _boundaries(frames: list[bytes]) -> list[int]:
    return [sum(map(len, frames[:count])) for count in range(len(frames) + 1)]


def _finish(world: World, end: str, rest: bytes) -> None:
    client = world.client
    match end:
        case "cut":
            world.splice.cut(CloseReason.LOGGED_OUT)
        case "leave":
            world.splice.leave(CloseReason.DRAINING)
        case "close":
            client.arrive(rest)
            client.arrive(wire.close_frame(1000))
        case "client-rst":
            client.lose(ConnectionResetError())
        case "client-fin":
            client.fin()
        case "give-up" if world.splice.state == "held":
            world.splice.give_up("nobody came")
    assert world.held == (world.splice.state == "held")
    if world.splice.state in ("open", "held"):
        client.lose(None)
    for timer in [timer for timer in world.loop.timers if timer.call is not None]:
        assert timer.call is not None
        timer.call()
    assert world.splice.state == "ended"
    assert (world.held, world.kept) == (0, 0)
    assert len(world.owner.ends) == 1


def _check(world: World, messages: list[bytes]) -> None:
    _check_client(world.to_client)
    heard: list[list[bytes]] = [_messages(bytes(backend.written)) for backend in world.backends]
    texts = [[_said(raw) for raw in messages]]
    for number, each in enumerate(heard):
        unsafe = [one for one in each if not one.startswith(b"{")]
        assert len(unsafe) == len(set(unsafe))
        texts.append(unsafe)
        before = list(dict.fromkeys(one for earlier in heard[:number] for one in earlier))
        again = [one for one in before[:4] if one.startswith(b"{")]
        assert each[: len(again)] == again, "what is safe comes first, and all of it"
    everything = [one for each in texts[1:] for one in each]
    assert len(everything) == len(set(everything)), "nothing comes twice that is not safe to repeat"
    order = [texts[0].index(one) for one in everything]
    assert order == sorted(order)


def _check_client(stream: bytes) -> None:
    """News in their order and none twice, hints and Pongs between them, one Close at most, and nothing behind it."""
    buffer, news, closes = bytearray(stream), [], 0
    while (read := wire.take_frame(buffer)) is not None:
        assert not closes
        assert read.mask is None
        closes += read.opcode == wire.CLOSE
        if read.payload.startswith(b"news"):
            news.append(int(read.payload.split()[1]))
        else:
            assert read.opcode == wire.CLOSE or read.payload in (b"replaced", b"p")
    assert news == sorted(set(news))


def _messages(stream: bytes) -> list[bytes]:
    """The whole messages in what a backend was sent; it begins with one, and its frames make sense."""
    buffer, found, body, within = bytearray(stream), [], b"", False
    while (read := wire.take_frame(buffer)) is not None:
        assert read.mask is not None
        if read.opcode >= wire.CLOSE:
            continue
        assert (read.opcode == wire.CONTINUATION) == within
        body += read.payload
        within = not read.fin
        if read.fin:
            found.append(body)
            body = b""
    return found


def _said(raw: bytes) -> bytes:
    (said,) = _messages(raw)
    return said
