"""What identity providers get for what they post, through the real door."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from random import Random
from typing import Any

import aiohttp
import pytest
from yarl import URL

from tests.events.fakes import NOW, FakeStream, Replica
from tests.policy.event_tokens import LOGOUT, REVOKED
from tests.policy.minting import ISSUER, jwks, mint, public_jwk
from tests.proxy.house import House, policy_set
from tests.sessions.fakes import identity, link_of
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.client import connect
from tests.support.waiting import eventually
from wsguard.events import pushed
from wsguard.events.pushed import MAX_BODY, Route
from wsguard.events.room import SessionEventsRoom
from wsguard.policy.keys import KeySet
from wsguard.policy.model import JwtProvider, SessionEvents
from wsguard.protocol.reasons import CloseReason

BACKCHANNEL, SIGNALS = "/.wsguard/backchannel-logout", "/.wsguard/events"
FORM, SET = "application/x-www-form-urlencoded", "application/secevent+jwt"
KEYS = {"remoteJWKS": {"uri": "https://idp.example.test/jwks"}, "algorithms": ["ES256"], "issuer": ISSUER}


class Keys:
    """Key sets one after the other; None: they cannot be had."""

    def __init__(self) -> None:
        self.sets: list[KeySet | None] = [KeySet.from_jwks(jwks(public_jwk("ES256")))]

    async def keys_of(self, provider: JwtProvider, besides: KeySet | None = None) -> KeySet | None:
        return self.sets.pop(0) if len(self.sets) > 1 else self.sets[0]


class Ends:
    """The endpoints of a replica, and the door that they are mounted in."""

    def __init__(self, backend: RecordingBackend, replica: Replica) -> None:
        self.replica, self.keys = replica, Keys()
        self.secret = {"authorization": b"Bearer of-the-transmitter\n"}
        signals = {**KEYS, "type": "SharedSignals", "audiences": ["guard"]}
        spec = SessionEvents.model_validate(
            {
                "sources": [
                    {"type": "BackChannelLogout", "clientIDs": ["web"], **KEYS},
                    {**signals, "authorizationFile": "authorization"},
                    {**signals, "authorizationFile": "second", "issuer": "https://second.test"},
                    {**signals, "issuer": "https://third.test"},
                ]
            }
        )
        self.room = SessionEventsRoom(
            spec=spec,
            files=lambda: self.secret,
            keys=self.keys,
            registry=replica.registry,
            deny_list=replica.deny_list,
            clock=replica.clock,
            observer=replica.notebook,
            issuers=lambda: [ISSUER],
            policies=policy_set,
            vouch=lambda *_: None,
            rng=Random(1),
        )
        self.room.bus = replica.bus
        self.house = House(backend, routes=self.routes())

    def routes(self) -> Mapping[str, Route]:
        return self.room.routes()

    async def post(
        self, path: str, data: bytes | str, content_type: str, method: str = "POST", **headers: str
    ) -> tuple[int, Any, Mapping[str, str]]:
        fields = {"Content-Type": content_type, "Authorization": "Bearer of-the-transmitter", **headers}
        url = URL(f"http://127.0.0.1:{self.house.port}{path}", encoded=True)
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, data=data, headers=fields) as response,
        ):
            text = await response.text()
            assert response.headers.get("Cache-Control") == "no-store" or response.status == 404
            return response.status, json.loads(text) if text.startswith("{") else text, response.headers

    async def log_out(self, typ: str = "logout+jwt", **changes: Any) -> tuple[int, Any]:
        claims = {**LOGOUT, "iat": NOW - 1, "exp": NOW + 60, **changes}
        token = mint("ES256", {name: value for name, value in claims.items() if value is not None}, typ=typ)
        return (await self.post(BACKCHANNEL, f"logout_token={token}", FORM))[:2]

    def token(self, **changes: Any) -> str:
        claims = {**REVOKED, **changes}
        claims["sub_id"] = {"format": "iss_sub", "iss": claims["iss"], "sub": "ann"}
        return mint("ES256", claims, typ="secevent+jwt")

    async def signal(self, **changes: Any) -> tuple[int, Any]:
        return (await self.post(SIGNALS, self.token(**changes), SET))[:2]


@pytest.fixture
async def ends(backend: RecordingBackend) -> AsyncIterator[Ends]:
    made = Ends(backend, Replica())
    async with made.house:
        yield made


async def test_a_logout_token_closes_its_session(ends: Ends) -> None:
    alice = ends.replica.connect("c1", identity("ann", ISSUER, sid="s1"))
    other = ends.replica.connect("c2", identity("ann", ISSUER, sid="s2"))
    assert await ends.log_out() == (200, "")
    assert link_of(alice).reason is CloseReason.LOGGED_OUT
    assert link_of(other).reason is None


async def test_a_revoked_user_loses_every_socket(ends: Ends) -> None:
    alice = ends.replica.connect("c1", identity("ann", ISSUER, issued_at=NOW - 60))
    assert await ends.signal() == (202, "")
    assert link_of(alice).reason is CloseReason.LOGGED_OUT


async def test_a_replay_is_refused_or_known(ends: Ends) -> None:
    assert (await ends.log_out())[0] == 200
    status, body = await ends.log_out()
    assert (status, body["error"]) == (400, "invalid_request")
    assert "jti" in body["error_description"]
    assert await ends.signal() == await ends.signal() == (202, "")
    assert [result for _, result in ends.replica.notebook.counts] == ["applied", "refused", "applied"]


async def test_errors_are_said_as_the_standards_say(ends: Ends) -> None:
    status, body = await ends.log_out(nonce="n")
    assert (status, set(body)) == (400, {"error", "error_description"})
    status, body = await ends.signal(aud="other")
    assert status == 400
    assert body["err"] == "invalid_audience"
    assert set(body) == {"err", "description"}
    assert (await ends.signal(iss="https://evil.test"))[1]["err"] == "invalid_issuer"


@pytest.mark.parametrize(
    ("path", "data", "content_type", "status"),
    [
        (BACKCHANNEL, "logout_token=a.b.c", "text/plain", 400),
        (BACKCHANNEL, "token=a.b.c", FORM, 400),
        (BACKCHANNEL, "logout_token=a&logout_token=b", FORM, 400),
        (BACKCHANNEL, "logout_token=", FORM, 400),
        (BACKCHANNEL, b"\xff", FORM, 400),
        (BACKCHANNEL, "logout_token=" + "a" * MAX_BODY, FORM, 413),
        (SIGNALS, "a.b.c", SET, 400),
        (SIGNALS, "", SET, 400),
        (SIGNALS, "a.b.c", "application/jwt", 400),
        (SIGNALS, b"\xff" * 10, SET, 400),
        (SIGNALS, "a" * (MAX_BODY + 1), SET, 413),
    ],
)
async def test_what_is_no_event_is_refused(
    ends: Ends, path: str, data: str | bytes, content_type: str, status: int
) -> None:
    got, body, _ = await ends.post(path, data, content_type)
    assert got == status
    assert isinstance(body, dict)
    assert not ends.replica.notebook.applied_events


async def test_a_good_token_under_another_content_type_is_none(ends: Ends) -> None:
    for content_type in ("application/jwt", "application/json", FORM):
        assert (await ends.post(SIGNALS, ends.token(), content_type))[0] == 400
    assert (await ends.post(SIGNALS, ends.token(), f"{SET.upper()}; charset=utf-8"))[0] == 202


async def test_two_issuers_may_number_their_tokens_alike(ends: Ends) -> None:
    ends.secret["second"] = ends.secret["authorization"]
    for issuer in (ISSUER, "https://second.test"):
        ends.replica.connect(issuer, identity("ann", issuer, issued_at=NOW - 60))
        assert (await ends.signal(iss=issuer, jti="1"))[0] == 202
    assert all(link_of(one).reason is CloseReason.LOGGED_OUT for one in ends.replica.registry)


async def test_only_a_post_to_the_very_path_is_answered(ends: Ends) -> None:
    status, _, headers = await ends.post(SIGNALS, "", SET, method="GET")
    assert (status, headers["Allow"]) == (405, "POST")
    for path in ("/.wsguard/events/", "/.wsguard/Events", "/.wsguard/%65vents", "/.wsguard/nothing"):
        assert (await ends.post(path, "", SET))[0] == 404, path
    assert (await ends.post(SIGNALS + "?a=b", "", SET))[
        0
    ] == 400  # a query is kept by who posts (BCL §2.2) and means nothing


async def test_a_host_that_the_guard_does_not_answer_to_is_turned_away(ends: Ends) -> None:
    async with connect(ends.house.port) as client:
        await client.send(wire.request("POST", SIGNALS, [("Host", "rebound.test"), ("Content-Type", SET)]))
        assert (await client.head()).status == 421


async def test_nothing_is_there_unless_configured(backend: RecordingBackend) -> None:
    ends = Ends(backend, Replica())
    ends.house = House(backend)
    async with ends.house:
        assert (await ends.post(BACKCHANNEL, "", FORM))[0] == 404
        assert (await ends.post(SIGNALS, "", SET))[0] == 404


async def test_a_transmitter_shows_its_authorization(ends: Ends) -> None:
    event = mint("ES256", {**REVOKED}, typ="secevent+jwt")
    for wrong in ("Bearer other", "", "Bearer of-the-transmitte", "bearer of-the-transmitter"):
        status, body, _ = await ends.post(SIGNALS, event, SET, Authorization=wrong)
        assert (status, body["err"]) == (401, "authentication_failed")
    ends.secret["authorization"] = b"Bearer other"
    assert (await ends.post(SIGNALS, event, SET, Authorization="Bearer other"))[0] == 202, "rotated"


async def test_no_transmitter_speaks_with_the_authorization_of_another(ends: Ends) -> None:
    """Nor must one show any because another has to."""
    ends.secret["second"] = b"Bearer of-the-second"
    token = ends.token
    second = token(iss="https://second.test")
    assert (await ends.post(SIGNALS, second, SET, Authorization="Bearer of-the-transmitter"))[0] == 401
    assert (await ends.post(SIGNALS, second, SET, Authorization="Bearer of-the-second"))[0] == 202
    assert (await ends.post(SIGNALS, token(), SET, Authorization="Bearer of-the-second"))[0] == 401
    assert (await ends.post(SIGNALS, token(iss="https://third.test"), SET, Authorization="none"))[0] == 202


async def test_too_many_are_turned_away_before_any_key_is_asked_for(ends: Ends) -> None:
    ends.keys.sets = []  # whoever asks for keys fails
    statuses = {(await ends.post(BACKCHANNEL, "logout_token=a.b.c", FORM))[0] for _ in range(1_010)}
    assert statuses == {400, 429}
    ends.replica.clock.now += 10
    assert (await ends.post(BACKCHANNEL, "logout_token=a.b.c", FORM))[0] == 400


async def test_without_keys_the_provider_is_asked_to_come_again(ends: Ends) -> None:
    good = ends.keys.sets[0]
    ends.keys.sets = [None]
    assert (await ends.log_out())[0] == 503
    ends.keys.sets = [KeySet.from_jwks(jwks(public_jwk("ES256", kid="old"))), good]
    assert (await ends.log_out())[0] == 200, "a key that was rotated in"


async def test_success_is_said_only_once_the_stream_has_it(backend: RecordingBackend) -> None:
    stream = FakeStream()
    stream.is_away = True
    replica = Replica(stream)
    ends = Ends(backend, replica)
    alice = replica.connect("c1", identity("ann", ISSUER, sid="s1"))
    async with ends.house:
        replica.start()
        status, body = await ends.log_out()
        assert (status, body["error"]) == (503, "temporarily_unavailable")
        assert link_of(alice).reason is CloseReason.LOGGED_OUT, "closed here at once all the same"
        stream.is_away = False
        await eventually(lambda: replica.bus.followers[0].is_up)
        assert (await ends.log_out())[0] == 200, "the same token again is no replay"
        assert stream.stored
    await replica.close()


class SlowStream(FakeStream):
    """A stream that stores nothing before `go`, though it answers."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def append(self, document: bytes) -> None:
        await self.go.wait()
        await super().append(document)


async def test_who_sends_again_while_it_is_being_stored_waits_for_the_same_storing(backend: RecordingBackend) -> None:
    """Else the second is told of a success that the first does not have yet, and each retry fills the outbox."""
    stream = SlowStream()
    replica = Replica(stream, patience=0.2)
    ends = Ends(backend, replica)
    async with ends.house:
        replica.start()
        await eventually(lambda: replica.bus.followers[0].is_up)
        both = await asyncio.gather(ends.signal(), ends.signal(), ends.log_out(), ends.log_out())
        assert [status for status, _ in both] == [503] * 4
        for _ in range(5):
            assert ((await ends.signal())[0], (await ends.log_out())[0]) == (503, 503)
        assert len(replica.bus.followers[0].outbox) == 2, "one of each"
        stream.go.set()
        await eventually(lambda: not len(replica.bus.followers[0].outbox))
        stream.is_away = True
        await eventually(lambda: not replica.bus.followers[0].is_up)
        assert ((await ends.signal())[0], (await ends.log_out())[0]) == (202, 200), "it has them, wherever it is now"
        assert ((await ends.signal())[0], (await ends.log_out())[0]) == (202, 400), "now it is a replay"
        assert len(stream.stored) == 2
    await replica.close()


async def test_a_body_that_does_not_come_is_not_waited_for(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushed, "BODY_PATIENCE", 0.2)
    for path, content_type in ((BACKCHANNEL, FORM), (SIGNALS, SET)):
        fields = [("Host", "localhost"), ("Content-Type", content_type), ("Content-Length", "100")]
        async with connect(ends.house.port) as client:
            await client.send(wire.request("POST", path, fields, b"logout"))
            head = await client.head()
            assert (head.status, head.get("connection")) == (408, "close")
            await client.rest()
