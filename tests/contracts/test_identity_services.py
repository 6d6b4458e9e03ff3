"""What holds for everyone who asks others about a credential, whatever the service does."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.identity.asked import Asked, AskedService, Reply, reply
from tests.identity.parties import Party, World, forward_auth_party, introspection_party
from tests.support.certificates import Authority
from tests.support.waiting import eventually
from wsguard.identity import exchange
from wsguard.identity.exchange import new_session

PARTIES = {"introspection": introspection_party, "forwardAuth": forward_auth_party}
Made = Callable[..., Party]


@pytest.fixture
async def service() -> AsyncIterator[AskedService]:
    async with AskedService(reply(status=500)) as running:
        yield running


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with new_session() as session:
        yield World(session)


@pytest.fixture(params=list(PARTIES))
def made(request: pytest.FixtureRequest, service: AskedService, world: World) -> Made:
    """Makes the party that asks `service`."""
    return lambda **fields: PARTIES[request.param](service.url, world, **fields)


@pytest.fixture
def party(made: Made, service: AskedService) -> Party:
    """The party, and a service that says yes."""
    asks = made()
    service.reply = asks.yes
    return asks


async def test_a_yes_is_a_yes_and_a_no_is_a_no(party: Party, service: AskedService, world: World) -> None:
    assert await party.ask("ann") == "yes"
    service.reply = party.no
    assert await party.ask("bob") == "no"
    assert [result for _, result in world.told] == ["yes", "no"]


async def test_a_yes_is_remembered_for_as_long_as_the_policy_says(
    made: Made, service: AskedService, world: World
) -> None:
    party = made(cache_duration=7.0)
    service.reply = party.yes
    assert [await party.ask("ann") for _ in range(3)] == ["yes"] * 3
    assert len(service.asked) == 1
    world.clock.pass_by(6.9)
    assert await party.ask("ann") == "yes"
    assert len(service.asked) == 1
    world.clock.pass_by(0.2)
    service.reply = party.no
    assert await party.ask("ann") == "no"
    assert len(service.asked) == 2


async def test_nothing_is_remembered_where_the_policy_says_so(made: Made, service: AskedService) -> None:
    party = made(cache_duration=0.0)
    service.reply = party.yes
    assert [await party.ask("ann") for _ in range(3)] == ["yes"] * 3
    assert len(service.asked) == 3


async def test_a_no_is_not_remembered_so_that_who_logs_in_is_let_in(party: Party, service: AskedService) -> None:
    service.reply = party.no
    assert await party.ask("ann") == "no"
    service.reply = party.yes
    assert await party.ask("ann") == "yes"


async def test_one_is_not_taken_for_another(party: Party, service: AskedService) -> None:
    assert await party.ask("ann") == "yes"
    service.reply = party.no
    assert await party.ask("bob") == "no"
    assert await party.ask("ann") == "yes"


async def test_many_handshakes_with_one_credential_ask_once(party: Party, service: AskedService) -> None:
    service.gate.clear()
    waiting = [asyncio.create_task(party.ask("ann")) for _ in range(50)]
    await eventually(lambda: service.asked, what="the question")
    service.gate.set()
    assert set(await asyncio.gather(*waiting)) == {"yes"}
    assert len(service.asked) == 1


async def test_one_who_leaves_does_not_end_the_question_of_others(party: Party, service: AskedService) -> None:
    service.gate.clear()
    one, two = (asyncio.create_task(party.ask("ann")) for _ in range(2))
    await eventually(lambda: service.asked, what="the question")
    one.cancel()
    await asyncio.gather(one, return_exceptions=True)
    service.gate.set()
    assert await two == "yes"
    assert len(service.asked) == 1


async def test_a_question_that_nobody_waits_for_is_given_up(party: Party, service: AskedService, world: World) -> None:
    service.gate.clear()
    one = asyncio.create_task(party.ask("ann"))
    await eventually(lambda: service.asked, what="the question")
    one.cancel()
    await asyncio.gather(one, return_exceptions=True)
    await eventually(lambda: world.told, exchange.TIMEOUT / 2, "the end of the question, before it would time out")
    service.gate.set()
    assert await party.ask("ann") == "yes"


async def test_a_log_out_forgets_what_was_answered_before(party: Party, service: AskedService, world: World) -> None:
    assert await party.ask("ann") == "yes"
    world.logouts += 1
    service.reply = party.no
    assert await party.ask("ann") == "no"


async def test_an_answer_that_a_log_out_overtakes_is_not_for_who_comes_after(
    party: Party, service: AskedService, world: World
) -> None:
    service.gate.clear()
    before = asyncio.create_task(party.ask("ann"))
    await eventually(lambda: service.asked, what="the first question")
    world.logouts += 1
    after = asyncio.create_task(party.ask("ann"))
    await eventually(lambda: len(service.asked) == 2, what="a second question")
    service.gate.set()
    await asyncio.gather(before, after)
    service.reply = party.no
    await party.ask("ann")
    world.logouts += 1
    assert await party.ask("ann") == "no"


async def test_so_many_are_asked_at_once_and_the_others_wait(made: Made, service: AskedService) -> None:
    party = made()
    service.reply = party.yes
    service.gate.clear()
    waiting = [asyncio.create_task(party.ask(f"user-{number}")) for number in range(100)]
    await eventually(lambda: service.under_way == 64, what="as many questions as may be")
    service.gate.set()
    assert await asyncio.gather(*waiting) == ["yes"] * 100
    assert service.most_at_once == 64


async def _huge(asked: Asked) -> web.StreamResponse:
    del asked
    response = web.Response(body=b'{"active":true,"sub":"a","user":{"id":"a"},"x":"' + b"x" * (1 << 20) + b'"}')
    response.enable_chunked_encoding()
    return response


async def _cut_short(asked: Asked) -> web.StreamResponse:
    del asked
    return web.Response(body=b'{"active":true', headers={"Content-Length": "4000"})


GOOD = {"active": True, "sub": "a", "user": {"id": "a"}}
LIES: dict[str, Reply] = {
    "nothing": reply(b""),
    "no JSON": reply(b"<html>login</html>"),
    "a list": reply([GOOD]),
    "two answers": reply(b'{"active":false,"active":true,"sub":"a","user":{"id":"a"},"user":{"id":"b"}}'),
    "a lone surrogate": reply(b'{"active":true,"sub":"\\ud800","user":{"id":"\\ud800"}}'),
    "a number too many": reply(b'{"active":true,"sub":1.5,"user":{"id":1.5}}'),
    "NaN": reply(b'{"active":true,"sub":"a","user":{"id":NaN}}'),
    "a truth that is none": reply({"active": "true", "sub": "a", "user": {"id": True}}),
    "an object for a name": reply({"active": True, "sub": {}, "user": {"id": {}}}),
    "a line end in a name": reply({"active": True, "sub": "a\nb", "user": {"id": "a\nb"}}),
    "a name too long": reply({"active": True, "sub": "a" * 2000, "user": {"id": "a" * 2000}}),
    "compressed": reply(gzip.compress(b'{"active":true,"sub":"a","user":{"id":"a"}}'), Content_Encoding="gzip"),
    "huge": _huge,
    "500": reply(GOOD, 500),
    "503": reply(GOOD, 503),
    "429": reply(GOOD, 429),
    "101": reply(b"", 101),
    "cut short": _cut_short,
}


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.replace(" ", "-"))
async def test_no_lie_admits_anyone(
    party: Party, service: AskedService, world: World, lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "TIMEOUT", 1.0)
    service.reply = LIES[lie]
    async with asyncio.timeout(10):
        assert await party.ask("ann") == "unavailable"
    assert [result for _, result in world.told] == ["unavailable"]


async def test_a_redirect_is_not_followed(party: Party, service: AskedService) -> None:
    other: list[Asked] = []

    async def elsewhere(asked: Asked) -> web.StreamResponse:
        if asked.path != "/ask":
            other.append(asked)
            return await party.yes(asked)
        return web.Response(status=302, headers={"Location": "/yes"})

    service.reply = elsewhere
    assert await party.ask("ann") != "yes"
    assert other == []


async def test_one_that_is_dead_admits_nobody(party: Party, service: AskedService) -> None:
    await service.stop()
    assert await party.ask("ann") == "unavailable"


async def test_one_that_flaps_is_believed_each_time(party: Party, service: AskedService) -> None:
    answers: list[Any] = []
    for answer in (party.yes, reply(status=500), party.yes, reply(status=500), party.no):
        service.reply = answer
        answers.append(await party.ask(f"user-{len(answers)}"))
    assert answers == ["yes", "unavailable", "yes", "unavailable", "no"]


async def test_one_that_never_answers_is_given_up(
    made: Made, service: AskedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "TIMEOUT", 0.2)
    party = made()
    service.reply = party.yes
    service.gate.clear()
    async with asyncio.timeout(10):
        assert await party.ask("ann") == "unavailable"


@pytest.mark.parametrize("name", list(PARTIES))
async def test_a_kept_connection_that_ends_is_no_outage(world: World, name: str) -> None:
    """The service hangs up on the second question of each connection, as one with a short keep-alive may."""
    body = b'{"active":true,"sub":"a","user":{"id":"a"}}'
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        head = await reader.readuntil(b"\r\n\r\n")
        if b"POST" in head:
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        party = PARTIES[name](f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", world)
        assert await party.ask("ann") == "yes"
        assert await party.ask("bob") == "yes"
        assert connections == 2
        await world.session.close()


@pytest.mark.parametrize("name", list(PARTIES))
async def test_over_tls_only_who_the_policy_trusts_is_believed(world: World, name: str, tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    world.files |= {"ca": authority.pem, "stranger": stranger.pem}
    yes = reply({"active": True, "sub": "a", "user": {"id": "a"}})
    async with AskedService(yes, authority.serving("127.0.0.1")) as service:
        for ca_file, expected in (("ca", "yes"), ("stranger", "unavailable"), (None, "unavailable")):
            assert await PARTIES[name](service.url, world, ca_file=ca_file).ask("ann") == expected
