"""A client that keeps its socket while its backend is replaced: what each side hears, and when it is not so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from tests.proxy.closes import close_of
from tests.proxy.house import House
from tests.proxy.stay import HINT, holding, stay
from tests.proxy.tunnel import down, up
from tests.support import wire
from tests.support.backend import Conversation, RecordingBackend, accept, raw, reply
from tests.support.client import RawClient, connect
from tests.support.waiting import eventually, stays
from wsguard.policy.model import (
    Action,
    Authorization,
    Enforcement,
    GuardSpec,
    Limits,
    PolicySpec,
    Principal,
    Rejection,
    Rule,
    Session,
)
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy import redialer
from wsguard.proxy.splice import Splice

SUBSCRIBE = b'{"type":"subscribe","to":"news"}'
PAY = b'{"type":"pay","amount":1}'


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses as between tests, not between deploys."""
    monkeypatch.setattr(redialer, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(redialer, "LONGEST_PAUSE", 0.2)


def restarting(code: int) -> Callable[[Conversation], None]:
    return lambda far: far.writer.write(wire.close_frame(code, "restart", masked=False))


LOSSES = {
    "rst": Conversation.reset,
    "fin": Conversation.close,
    "1001": restarting(1001),
    "1012": restarting(1012),
}


@pytest.mark.parametrize("how", LOSSES)
async def test_the_client_stays_and_both_are_told(backend: RecordingBackend, how: str) -> None:
    async with stay(backend) as held:
        await held.client.send(up(SUBSCRIBE) + up(PAY))
        first = backend.conversations[-1]
        await eventually(lambda: len(first.tail) > len(SUBSCRIBE + PAY))
        await first.send(down(b"news 1"))
        await held.loses_its_backend(LOSSES[how])
        await held.client.send(up(b"meanwhile"))
        far = await held.finds_another()
        heard = [(await far.frame()).payload for _ in range(2)]
        assert heard == [SUBSCRIBE, b"meanwhile"], "what is safe to repeat, then what nobody has heard yet"
        await far.send(down(b"news 2"))
        assert [(await held.client.frame()).payload for _ in range(3)] == [b"news 1", HINT, b"news 2"]
        old, new = backend.upgrades[0], backend.upgrades[-1]
        assert int(new.get("x-wsguard-redial") or 0) == len(backend.upgrades) - 1 > 0
        assert old.get("x-wsguard-redial") is None
        assert old.get("sec-websocket-key") != new.get("sec-websocket-key")
        same = [[field for field in head.fields if field[0].lower() not in CHANGED] for head in (old, new)]
        assert same[0] == same[1]
        assert old.get("sec-websocket-extensions") is None, "a context would be lost with the backend"
        (returned,) = held.house.notebook.returns
        assert (returned.repeated, returned.kept, returned.lost) == (1, 1, 0)
        assert held.house.notebook.redials[-1] == "joined"
        if how.isdigit():
            reply_ = wire.take_frame(bytearray(first.tail[-8:]))
            assert reply_ is not None
            assert reply_.close[0] == int(how), "the old backend's Close is answered"


CHANGED = {"sec-websocket-key", "x-wsguard-redial"}


async def test_it_happens_again_and_again(backend: RecordingBackend) -> None:
    async with stay(backend) as held:
        await held.client.send(up(SUBSCRIBE))
        await eventually(lambda: backend.conversations[-1].tail)
        for _ in range(3):
            await held.loses_its_backend()
            far = await held.finds_another()
            assert (await far.frame()).payload == SUBSCRIBE
            await held.client.send(up(PAY))
            assert (await far.frame()).payload == PAY
            held.house.clock.monotonic_offset += 60
        assert len(held.house.notebook.returns) == 3


@pytest.mark.parametrize("code", [1000, 1011, 4000])
async def test_any_other_close_is_what_the_backend_says(backend: RecordingBackend, code: int) -> None:
    async with stay(backend) as held:
        await backend.conversations[-1].send(down(b"last") + wire.close_frame(code, "enough", masked=False))
        assert (await held.client.frame()).payload == b"last"
        assert await held.client.close_frame() == (code, "enough")
        ended = await held.house.end()
        assert (ended.initiator, ended.reason.token, ended.code) == ("backend", "backend-closed", code)


async def test_a_close_that_the_client_began_is_answered_as_ever(backend: RecordingBackend) -> None:
    async with stay(backend) as held:
        far = backend.conversations[-1]
        await held.client.send(wire.close_frame(1000, "bye"))
        assert (await far.frame()).close == (1000, "bye")
        await far.send(wire.close_frame(1001, "", masked=False))
        assert await held.client.close_frame() == (1001, "")


async def test_nobody_comes(backend: RecordingBackend) -> None:
    async with stay(backend, holding(give_up_after=0.4)) as held:
        await held.client.send(up(SUBSCRIBE))
        await held.loses_its_backend()
        await held.client.send(up(b"for nobody"))
        assert await close_of(held.client) == (1014, "backend-lost")
        ended = await held.house.end()
        assert (ended.initiator, ended.phase, ended.traffic.messages_from_client) == ("backend", "held", 1)
        assert "within 0.4 s" in ended.detail
        assert "the backend answered 503" in ended.detail


@pytest.mark.parametrize("size", [300, 70_000])
async def test_amid_a_message_for_the_client_there_is_no_going_on(backend: RecordingBackend, size: int) -> None:
    async with stay(backend) as held:
        await backend.conversations[-1].send(down(b"x" * size)[: size // 2])
        await eventually(lambda: held.house.registry and next(iter(held.house.registry)).link.traffic()[3] > 0)
        backend.conversations[-1].close()
        ended = await held.house.end()
        assert ended.reason is CloseReason.BACKEND_LOST
        assert "not held: it left amid a message" in ended.detail


async def test_between_the_fragments_of_a_message_neither(backend: RecordingBackend) -> None:
    async with stay(backend) as held:
        await backend.conversations[-1].send(down(b"begun", fin=False))
        await held.client.frame()
        backend.conversations[-1].reset()
        assert await close_of(held.client) == (1014, "backend-lost")


@pytest.mark.parametrize("at", [1, 3, 200])
async def test_a_message_that_no_backend_has_whole(backend: RecordingBackend, at: int) -> None:
    """Its header alone has gone nowhere, so it is whole for the next one; what was begun is lost, and said to be."""
    async with stay(backend) as held:
        message = up(b"m" * 300, fin=False) + up(b"end", opcode=wire.CONTINUATION)
        await held.client.send(up(SUBSCRIBE) + message[:at])
        await eventually(lambda: len(backend.conversations[-1].tail) >= len(SUBSCRIBE) + 6 + (at if at > 3 else 0))
        await held.loses_its_backend()
        await held.client.send(message[at:] + up(b"next"))
        far = await held.finds_another()
        expected = [SUBSCRIBE, b"next"] if at > 3 else [SUBSCRIBE, b"m" * 300, b"end", b"next"]
        assert [(await far.frame()).payload for _ in expected] == expected
        assert held.house.notebook.returns[0].lost == (at > 3)


async def test_nobody_is_dialled_before_the_lost_message_has_ended(backend: RecordingBackend) -> None:
    async with stay(backend) as held:
        message = up(b"m" * 300)
        await held.client.send(message[:100])
        await eventually(lambda: len(backend.conversations[-1].tail) >= 100)
        backend.conversations[-1].reset()
        await eventually(lambda: held.state == "held")
        await stays(lambda: len(backend.upgrades) == 1, 0.2)
        await held.client.send(message[100:])
        await held.finds_another()


async def test_pings_are_answered_meanwhile(backend: RecordingBackend) -> None:
    async with stay(backend) as held:
        await held.loses_its_backend()
        await held.client.send(wire.frame(wire.PING, b"there?") + up(b"one") + wire.frame(wire.PONG, b"unasked"))
        pong = await held.client.frame()
        assert (pong.opcode, pong.payload) == (wire.PONG, b"there?")
        far = await held.finds_another()
        assert (await far.frame()).payload == b"one"
        assert not far.tail


async def test_a_message_under_way_when_the_next_backend_comes(backend: RecordingBackend) -> None:
    async with stay(backend) as held:
        await held.loses_its_backend()
        message, ping = up(b"y" * 5_000), wire.frame(wire.PING, b"p" * 100)
        await held.client.send(message[:1_000])
        await eventually(lambda: held.house.redialer.kept > 900)
        far = await held.finds_another()
        await held.client.send(message[1_000:] + ping)
        assert (await far.frame()).payload == b"y" * 5_000
        assert (await far.frame()).opcode == wire.PING


async def test_what_is_kept_is_bounded(backend: RecordingBackend) -> None:
    """The client is not read beyond it; when another backend is there, nothing is missing."""
    async with stay(backend, holding(buffer=100_000)) as held:
        await held.loses_its_backend()
        message = up(b"z" * 50_000)
        sending = asyncio.create_task(held.client.send(message * 400))
        await eventually(lambda: held.house.redialer.kept >= 100_000)
        await stays(lambda: held.house.redialer.kept < 100_000 + 300_000, 0.3)
        assert not sending.done()
        far = await held.finds_another()
        await sending
        await eventually(lambda: len(far.tail) == 400 * len(message), 20.0)


async def test_what_all_of_them_say_is_bounded(backend: RecordingBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redialer, "MOST_KEPT", 50_000)
    async with stay(backend, holding(buffer=1 << 20)) as held, connect(held.house.port) as other:
        await other.open(wire.upgrade())
        backend.answer = reply(503)
        for far in await _two(backend):
            far.reset()
        await eventually(lambda: held.house.notebook.held_now == 2)
        sending = [asyncio.create_task(each.send(up(b"z" * 4_000_000))) for each in (held.client, other)]
        await eventually(lambda: held.house.redialer.is_full)
        await stays(lambda: held.house.redialer.kept < 50_000 + 2 * 300_000, 0.3)
        backend.answer = accept()
        await asyncio.gather(*sending)
        await eventually(lambda: held.house.notebook.held_now == 0)


async def _two(backend: RecordingBackend) -> list[Conversation]:
    return await eventually(lambda: backend.conversations if len(backend.conversations) == 2 else None)


CUTS = [CloseReason.LOGGED_OUT, CloseReason.SESSION_EXPIRED, CloseReason.TERMINATED, CloseReason.DRAINING]


@pytest.mark.parametrize("reason", CUTS, ids=lambda reason: reason.token)
async def test_a_cut_ends_it_with_one_close(backend: RecordingBackend, reason: CloseReason) -> None:
    async with stay(backend) as held:
        await held.loses_its_backend()
        await held.client.send(up(b"kept"))
        (connection,) = held.house.registry
        if reason is CloseReason.DRAINING:
            connection.link.leave(reason)
        else:
            connection.link.cut(reason)
        assert await close_of(held.client) == (reason.code, reason.token)
        assert await held.client.rest() == b""
        ended = await held.house.end()
        assert (ended.reason, ended.phase, ended.initiator) == (reason, "held", "guard")
        before = len(backend.requests)
        await stays(lambda: len(backend.requests) == before, 0.2)


@pytest.mark.parametrize("how", ["close", "close-without-code", "fin", "rst", "nonsense"])
async def test_the_client_leaves_meanwhile(backend: RecordingBackend, how: str) -> None:
    async with stay(backend) as held:
        await held.loses_its_backend()
        expected = {"fin": "client-lost", "rst": "client-lost", "nonsense": "protocol-error"}
        match how:
            case "close":
                await held.client.send(up(b"x") + wire.close_frame(4321, "enough"))
                assert await held.client.close_frame() == (4321, "")
            case "close-without-code":
                await held.client.send(wire.frame(wire.CLOSE))
                assert await held.client.close_frame() == (1000, "")
            case "fin":
                held.client.half_close()
            case "rst":
                held.client.reset()
            case "nonsense":
                await held.client.send(wire.frame(wire.TEXT, b"bare", masked=False))
                assert await close_of(held.client) == (1002, "protocol-error")
        ended = await held.house.end()
        assert (ended.reason.token, ended.phase) == (expected.get(how, "client-closed"), "held")
        await held.house.empty()
        before = len(backend.requests)
        await stays(lambda: len(backend.requests) == before, 0.2)


async def test_it_is_judged_again_before_each_redial(backend: RecordingBackend) -> None:
    """By the policy in force then, whatever its onReload says."""
    async with stay(backend) as held:
        await held.loses_its_backend()
        nobody = Authorization(default_action=Action.ALLOW, rules=(Rule(name="all", action=Action.DENY),))
        held.house.reload(test=holding(authorization=nobody))
        assert await close_of(held.client) == (4403, "not-authorized")
        assert held.house.notebook.redials[-1] == "forbidden"


async def test_a_policy_that_holds_no_more(backend: RecordingBackend) -> None:
    async with stay(backend) as held:
        await held.loses_its_backend()
        held.house.reload(test=PolicySpec())
        assert await close_of(held.client) == (1014, "backend-lost")
        assert "the policy in force does not hold" in (await held.house.end()).detail


async def test_a_policy_that_only_audits_holds_as_well(backend: RecordingBackend) -> None:
    nobody = Authorization(
        default_action=Action.ALLOW,
        rules=(
            Rule(name="all", action=Action.DENY, principal=Principal.model_validate({"clientCIDRs": ["0.0.0.0/0"]})),
        ),
    )
    async with stay(backend, holding(authorization=nobody, enforcement=Enforcement.AUDIT)) as held:
        await held.loses_its_backend()
        await held.finds_another()


async def test_a_drain_that_begins_meanwhile_sends_it_away_in_its_turn(backend: RecordingBackend) -> None:
    """Not at the next redial, where everyone who is held would be closed at once."""
    async with stay(backend) as held:
        await held.loses_its_backend()
        held.house.draining = True
        redials = held.house.notebook.redials
        await eventually(lambda: redials.count("failed") >= 2, what="redials that go on")
        await held.finds_another()
        (connection,) = held.house.registry
        connection.link.leave(CloseReason.DRAINING)
        assert await close_of(held.client) == (1012, "draining")


async def test_in_a_drain_nobody_is_held(backend: RecordingBackend) -> None:
    async with stay(backend) as held:
        held.house.draining = True
        backend.conversations[-1].reset()
        assert await close_of(held.client) == (1014, "backend-lost")
        assert "not held: the guard is draining" in (await held.house.end()).detail


async def test_idleness_counts_while_it_is_held(backend: RecordingBackend) -> None:
    async with stay(backend, holding(session=Session(idle_timeout=60))) as held:
        await held.loses_its_backend()
        held.house.clock.monotonic_offset += 61
        assert await close_of(held.client) == (4408, "idle-timeout")


ANSWERS = {
    "another subprotocol": (accept("chat.v2"), "speaks chat.v2 now, the client chat"),
    "no subprotocol": (accept(), "speaks no subprotocol now"),
    "an extension": (accept("chat", "permessage-deflate"), "an extension that was not offered"),
    "no": (reply(403), "the backend answered 403"),
    "a redirect": (reply(302), "the backend answered 302"),
}


@pytest.mark.parametrize("what", ANSWERS)
async def test_an_answer_that_ends_it(backend: RecordingBackend, what: str) -> None:
    answer, why = ANSWERS[what]
    backend.answer = accept("chat")
    spec = holding(limits=Limits(subprotocols=("chat", "chat.v2")))
    async with stay(backend, spec, wire.upgrade(subprotocols="chat, chat.v2")) as held:
        await held.loses_its_backend()
        backend.answer = answer
        assert await close_of(held.client) == (1014, "backend-lost")
        assert why in (await held.house.end()).detail
        assert held.house.notebook.redials[-1] == "refused"


async def test_garbage_and_silence_are_tried_again(backend: RecordingBackend) -> None:
    guard = GuardSpec.model_validate({"listener": {"handshakeTimeout": "100ms"}})
    async with House(backend, holding(), guard) as house, connect(house.port) as client:
        await client.open(wire.upgrade())
        backend.answer = raw(b"SSH-2.0-x\r\n")
        (await backend.conversation()).reset()
        await eventually(lambda: house.notebook.redials.count("failed") >= 2)
        backend.answer = raw(b"", close=False)
        await eventually(lambda: house.notebook.redials.count("failed") >= 4)
        backend.answer = accept()
        await eventually(lambda: house.notebook.returns)


async def test_a_backend_that_never_lasts_is_given_up(backend: RecordingBackend) -> None:
    """Such as one that what is said again kills: the time does not begin anew each time, and the pauses grow."""
    async with stay(backend, holding(give_up_after=1.0)) as held:
        await held.client.send(up(SUBSCRIBE))

        async def dies(conversation: Conversation, head: wire.Head) -> None:
            await accept(then=b"")(_first_read(conversation), head)

        backend.answer = dies
        backend.conversations[-1].reset()
        assert (await _until_close(held.client))[0] == 1014
        assert 2 < len(backend.upgrades) < 20


def _first_read(conversation: Conversation) -> Conversation:
    read = conversation.receive

    async def receive() -> bytes:
        await read()
        conversation.reset()
        return b""

    conversation.receive = receive  # type: ignore[method-assign]
    return conversation


async def _until_close(client: RawClient) -> tuple[int, str]:
    return await client.close_frame()


DECLINED = {
    "mqtt": "the broker keeps a session",
    "chat": "which limits.subprotocols does not list",
}


@pytest.mark.parametrize("subprotocol", DECLINED)
async def test_what_cannot_be_held_is_said_when_it_opens(backend: RecordingBackend, subprotocol: str) -> None:
    backend.answer = accept(subprotocol)
    async with stay(backend, holding(), wire.upgrade(subprotocols=subprotocol)) as held:
        (why,) = held.house.notebook.declined
        assert DECLINED[subprotocol] in why
        backend.conversations[-1].reset()
        assert await close_of(held.client) == (1014, "backend-lost")
        assert not held.house.notebook.holds


async def test_a_policy_that_does_not_hold_keeps_nothing(backend: RecordingBackend) -> None:
    async with stay(backend, PolicySpec(rejection=Rejection(close_timeout=0.3))) as held:
        assert backend.upgrades[0].get("sec-websocket-extensions") == "permessage-deflate"
        assert not held.house.notebook.declined
        backend.conversations[-1].reset()
        assert await close_of(held.client) == (1014, "backend-lost")


async def test_more_than_can_be_said_again_is_not_held(backend: RecordingBackend) -> None:
    async with stay(backend) as held:
        await held.client.send(up(b'{"type":"subscribe","x":"' + b"x" * 70_000 + b'"}'))
        await eventually(lambda: len(backend.conversations[-1].tail) > 70_000)
        backend.conversations[-1].reset()
        assert await close_of(held.client) == (1014, "backend-lost")
        assert "longer than 65536 bytes" in (await held.house.end()).detail


async def test_an_expiry_hint_reaches_who_is_held(backend: RecordingBackend) -> None:
    async with stay(backend) as held:
        await held.loses_its_backend(LOSSES["1012"])
        (connection,) = held.house.registry
        connection.link.interject(lambda: down(b"renew"))
        assert (await held.client.frame()).payload == b"renew"
        await held.finds_another()
        assert (await held.client.frame()).payload == HINT


async def test_an_expiry_hint_for_who_is_held_and_does_not_read_is_dropped(backend: RecordingBackend) -> None:
    """There is no backend behind whose message it could wait for its place."""
    async with stay(backend) as held:
        await held.loses_its_backend(LOSSES["1012"])
        (connection,) = held.house.registry
        assert isinstance(connection.link, Splice)
        client = connection.link._pair.client
        assert client is not None
        client.pause_writing()
        connection.link.interject(lambda: down(b"renew"))
        client.resume_writing()
        await held.finds_another()
        assert (await held.client.frame()).payload == HINT


async def test_two_hundred_are_not_dialled_for_at_once(backend: RecordingBackend) -> None:
    """And while the backend is away, one asks for all."""
    async with House(backend, holding(give_up_after=30)) as house, AsyncExitStack() as clients:
        for _ in range(200):
            client = await clients.enter_async_context(connect(house.port))
            await client.open(wire.upgrade())
        before = list(backend.conversations)
        backend.answer = reply(503)
        for far in before:
            far.reset()
        await eventually(lambda: house.notebook.held_now == 200)
        asked = len(backend.requests)
        await asyncio.sleep(0.6)
        assert len(backend.requests) - asked < 20
        most = 0

        async def slow(conversation: Conversation, head: wire.Head) -> None:
            nonlocal most
            most = max(most, len(house.redialer._dialling))
            await asyncio.sleep(0.01)
            await accept()(conversation, head)

        backend.answer = slow
        await eventually(lambda: len(house.notebook.returns) == 200, 20.0)
        assert 1 < most <= redialer.MOST_DIALS


def limited(**limits: object) -> PolicySpec:
    return holding(limits=Limits.model_validate(limits))


RATE = {"perConnection": {"requests": 5, "unit": "Second", "burst": 5}}


async def test_limits_are_kept_to_meanwhile(backend: RecordingBackend) -> None:
    async with stay(backend, limited(messages=RATE)) as held:
        await held.loses_its_backend()
        await held.client.send(up(b"x") * 20)
        assert await close_of(held.client) == (4429, "message-rate")
        assert (await held.house.end()).phase == "held"


async def test_who_is_held_back_is_heard_once(backend: RecordingBackend) -> None:
    """Twelve messages at five and then two a second: what waits for its turn is neither lost nor said twice."""
    rate = {"perConnection": {"requests": 2, "unit": "Second", "burst": 5}, "onExceed": "Throttle"}
    async with stay(backend, limited(messages=rate)) as held:
        said = [SUBSCRIBE, *(b"%d" % number for number in range(11))]
        await held.client.send(b"".join(map(up, said)))
        first = backend.conversations[-1]
        await eventually(lambda: len(first.tail) > 40)
        await held.loses_its_backend()
        far = await held.finds_another()
        heard: list[bytes] = []
        for conversation in (first, far):
            while len(heard) < 13 and (conversation is far or conversation.tail):
                heard.append((await conversation.frame()).payload)
        assert heard == [*heard[: heard.index(SUBSCRIBE, 1)], SUBSCRIBE, *heard[heard.index(SUBSCRIBE, 1) + 1 :]]
        assert [one for one in heard if one != SUBSCRIBE] == said[1:]
        assert heard.count(SUBSCRIBE) == 2


async def test_a_full_buffer_makes_nobody_a_slow_consumer(backend: RecordingBackend) -> None:
    spec = holding(buffer=50_000, limits=Limits.model_validate({"slowConsumer": {"maxPause": "200ms"}}))
    async with stay(backend, spec) as held:
        await held.loses_its_backend()
        sending = asyncio.create_task(held.client.send(up(b"z" * 4_000_000)))
        await eventually(lambda: held.house.redialer.kept >= 50_000)
        await stays(lambda: held.state == "held", 0.5)
        far = await held.finds_another()
        await sending
        await eventually(lambda: len(far.tail) > 4_000_000)


async def test_a_backend_that_answers_no_ping_is_lost(backend: RecordingBackend) -> None:
    """And the next one owes nothing for it."""
    alive = {"clientPingInterval": "0s", "backendPingInterval": "200ms", "timeout": "1s"}
    async with stay(backend, holding(keepAlive=alive)) as held:
        backend.answer = accept(echo=True)  # the next one is another
        await eventually(lambda: held.house.notebook.holds)
        await eventually(lambda: held.state == "open")
        await stays(lambda: len(held.house.notebook.holds) == 1, 1.6)
