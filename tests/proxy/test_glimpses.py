"""Newer tokens that pass by: in handshakes that are admitted, and in requests that are forwarded unjudged."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.identity.parties import opaque
from tests.proxy.stage import GOLD, HERE, SKEW, THERE, Stage, stage
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.client import connect
from tests.support.waiting import eventually
from wsguard.policy.model import Action, Authorization, ForwardAuth, Introspection, Match, Renewal, Session
from wsguard.protocol import base64url
from wsguard.proxy import glimpses
from wsguard.sessions.connection import Connection

LOOPS = ["uvloop"]

PASSIVE = Session(clock_skew=SKEW, renewal=Renewal.PASSIVE)
SAME = "same-origin"


def readable(here: Stage, name: str, **claims: Any) -> str:
    """A token whose claims can be read before anyone vouches for them, as those of a JWT can."""
    known = here.tokens.known[here.token(name, **claims)]
    parts = (base64url.encode(json.dumps(part).encode()) for part in ({"alg": "HS256"}, known))
    token = ".".join(parts) + ".c2ln"
    here.tokens.known[token] = known
    return token


async def request(here: Stage, *, origin: str | None = None, site: str | None = SAME, **fields: str) -> int:
    """Forward a GET; the status of its answer."""
    more = [("Host", "localhost"), *((name.title(), value) for name, value in fields.items())]
    more += [("Origin", origin)] if origin else []
    more += [("Sec-Fetch-Site", site)] if site else []
    async with connect(here.house.port) as client:
        await client.send(wire.request("GET", "/api", more))
        return (await client.head()).status


def jti(connection: Connection) -> str | None:
    return connection.identity.jti if connection.identity else None


async def test_a_newer_token_in_a_handshake(backend: RecordingBackend) -> None:
    async with (
        stage(backend, session=PASSIVE) as here,
        here.open(cookie=f"session={here.token('t1', age=10)}") as (_, first),
        here.open(cookie=f"session={here.token('t2', lives=600)}") as (_, second),
    ):
        assert here.lives_until(first) == pytest.approx(600, abs=2)
        (record,) = here.house.notebook.renewals
        assert (record.by, record.connections, record.cut) == ("handshake", 1, 0)
        async with here.open(cookie=f"session={here.token('t3', age=5, lives=60)}"):
            assert (jti(first), jti(second)) == ("t2", "t2"), "an older one counts for itself alone"


async def test_a_handshake_to_another_policy_counts_too_also_where_that_refuses_it(backend: RecordingBackend) -> None:
    async with (
        stage(backend, session=PASSIVE) as here,
        here.open(cookie=f"session={here.token('t1', age=10)}") as (_, one),
    ):
        here.house.reload(
            test=here.house.spec,
            other=here.house.spec.model_copy(
                update={"match": Match.model_validate({"paths": [{"type": "Exact", "value": "/other"}]})}
            ),
            closed=here.house.spec.model_copy(
                update={
                    "match": Match.model_validate({"paths": [{"type": "Exact", "value": "/closed"}]}),
                    "authorization": Authorization(default_action=Action.DENY),
                }
            ),
        )
        async with here.open(path="/other", cookie=f"session={readable(here, 't2', age=5)}"):
            assert jti(one) == "t2"
        async with connect(here.house.port) as client:
            cookie = [("Cookie", f"session={readable(here, 't3')}")]
            await client.open(wire.upgrade("/closed", origin=HERE, fields=cookie))
            assert await client.close_frame() == (4403, "not-authorized")
        assert jti(one) == "t3"
        assert {record.by for record in here.house.notebook.renewals} == {"handshake"}


async def test_one_from_another_page_does_not_count(backend: RecordingBackend) -> None:
    async with (
        stage(backend, session=PASSIVE) as here,
        here.open(cookie=f"session={here.token('t1', age=10)}") as (_, first),
        here.open(origin=THERE, cookie=f"session={here.token('t2', lives=600)}"),
    ):
        assert jti(first) == "t1"


async def test_where_renewal_is_explicit_nothing_is_seen_in_passing(backend: RecordingBackend) -> None:
    async with (
        stage(backend) as here,
        here.open(cookie=f"session={here.token('t1', age=10)}") as (_, first),
        here.open(cookie=f"session={readable(here, 't2', lives=600)}"),
    ):
        assert await request(here, cookie=f"session={readable(here, 't3')}") == 200
        assert jti(first) == "t1"


@pytest.mark.parametrize(
    ("origin", "site", "renewed"),
    [
        (None, SAME, True),
        (HERE, SAME, True),
        (HERE, None, True),
        (None, None, False),
        (None, "cross-site", False),
        (None, "none", False),
        ("https://evil.test", "cross-site", False),
    ],
)
async def test_a_newer_token_in_a_forwarded_request(
    backend: RecordingBackend, origin: str | None, site: str | None, renewed: bool
) -> None:
    async with (
        stage(backend, session=PASSIVE) as here,
        here.open(cookie=f"session={here.token('t1', age=10)}") as (_, one),
    ):
        new = readable(here, "t2", lives=600)
        for _ in range(2):
            assert await request(here, origin=origin, site=site, cookie=f"session={new}") == 200
        assert jti(one) == ("t2" if renewed else "t1")
        assert [record.by for record in here.house.notebook.renewals] == ["forwarded"] * renewed
        assert here.tokens.waited == 0


async def test_of_a_crowd_of_requests_one_a_second_is_looked_at(backend: RecordingBackend) -> None:
    """Also where what it might renew comes only then."""
    async with (
        stage(backend, session=PASSIVE) as here,
        here.open(cookie=f"session={here.token('t0', age=20, sid='s2')}"),
    ):
        old, new = here.token("t1", age=10), readable(here, "t2", lives=600)
        await request(here, cookie=f"session={new}")
        async with here.open(cookie=f"session={old}") as (_, one):
            await request(here, cookie=f"session={new}")
            assert jti(one) == "t1"
            here.house.clock.monotonic_offset += 1.0
            await request(here, cookie=f"session={new}")
            assert jti(one) == "t2"


async def test_rules_are_asked_of_what_is_seen_in_passing_too(backend: RecordingBackend) -> None:
    async with (
        stage(backend, session=PASSIVE, authorization=GOLD) as here,
        here.open(cookie=f"session={here.token('t1', age=10)}") as (client, _),
    ):
        assert await request(here, cookie=f"session={readable(here, 't2', tier='tin')}") == 200
        assert await client.close_frame() == (4403, "not-authorized")


async def test_what_is_no_good_passes_and_changes_nothing(backend: RecordingBackend) -> None:
    async with (
        stage(backend, session=PASSIVE) as here,
        here.open(cookie=f"session={here.token('t1', age=10)}") as (_, one),
    ):
        forged = readable(here, "t2", lives=600)
        del here.tokens.known[forged]
        logged_out = readable(here, "t3", lives=600)
        here.house.deny_list.deny_jti("https://idp.test", "t3", here.now)
        for cookie in (forged, logged_out, "opaque", "", f"{forged}; session={logged_out}"):
            assert await request(here, cookie=f"session={cookie}") == 200
        assert jti(one) == "t1"
        assert here.house.notebook.turned == []


async def test_a_policy_for_another_host_or_with_a_service_is_not_looked_at(backend: RecordingBackend) -> None:
    elsewhere = Match.model_validate({"hostnames": ["elsewhere.test"]})
    service = ForwardAuth(url="http://127.0.0.1:9/me", headers_to_ext_auth=("cookie",))
    for part in ({"match": elsewhere}, {"forward_auth": service}):
        async with (
            stage(backend, session=PASSIVE) as here,
            here.open(cookie=f"session={here.token('t1', age=10)}") as (_, one),
        ):
            here.house.reload(test=here.house.spec.model_copy(update=part))
            assert await request(here, cookie=f"session={readable(here, 't2')}") in (200, 421)
            assert jti(one) == "t1"


async def test_where_keys_have_to_be_fetched_the_request_does_not_wait(
    backend: RecordingBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glimpses, "MAX_WAITING", 2)
    async with (
        stage(backend, session=PASSIVE) as here,
        here.open(cookie=f"session={here.token('t1', age=10)}") as (_, one),
    ):
        here.tokens.must_wait, here.tokens.gate = True, asyncio.Event()
        names = ["t2", "t3", "t4"]
        for place, name in enumerate(names):
            token = readable(here, name, lives=600, age=5 - place)
            assert await request(here, cookie=f"session={token}") == 200
        assert jti(one) == "t1"
        here.tokens.gate.set()
        await eventually(lambda: jti(one) == "t3", what="the last that was not let go")
        assert here.tokens.waited == 2


async def test_an_opaque_token_counts_where_its_answer_is_remembered(backend: RecordingBackend) -> None:
    asked = Introspection(providers=(opaque("http://127.0.0.1:9/"),))
    async with (
        stage(backend, session=PASSIVE, jwt=None, introspection=asked) as here,
        here.open(cookie=f"session={here.token('t1', age=10)}") as (_, one),
    ):
        new = here.token("t2", lives=600)
        here.tokens.must_wait = True
        assert await request(here, cookie=f"session={new}") == 200
        assert (jti(one), here.tokens.waited) == ("t1", 0), "nobody is asked for a forwarded request"
        here.tokens.must_wait = False
        assert await request(here, cookie=f"session={new}") == 200
        assert jti(one) == "t2"


async def test_a_fault_does_not_cost_the_request(backend: RecordingBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    async with (
        stage(backend, session=PASSIVE) as here,
        here.open(cookie=f"session={here.token('t1', age=10)}"),
    ):
        monkeypatch.setattr(glimpses, "read_credentials", fail)
        assert await request(here, cookie="session=x") == 200
        ((where, _),) = here.house.notebook.faults
        assert where == "looking at a request that passes"
        here.house.notebook.faults.clear()


async def test_the_end_waits_for_nobody(backend: RecordingBackend) -> None:
    async with (
        stage(backend, session=PASSIVE) as here,
        here.open(cookie=f"session={here.token('t1', age=10)}"),
    ):
        here.tokens.must_wait, here.tokens.gate = True, asyncio.Event()
        assert await request(here, cookie=f"session={readable(here, 't2')}") == 200
