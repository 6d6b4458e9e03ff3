"""A POST to the guard itself gets in where the handshake that it speaks for would get in, and tells a page why not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import pytest
from aiohttp import web

from tests.policy.minting import provider
from tests.proxy.house import House
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.client import connect
from tests.support.waiting import eventually
from tests.support.wire import Head
from wsguard.policy.effective import Effective
from wsguard.policy.forward_auth import Approval, Question
from wsguard.policy.model import Enforcement, ForwardAuth, GuardSpec, Jwt, Listener, OriginSpec, PolicySpec
from wsguard.policy.origin import SAME_HOST, OriginPattern
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy.own_request import MAX_BODY, Judged, answer, judge_request
from wsguard.sessions.identity import Identity

LOOPS = ["uvloop"]

HOST, ORIGIN, COOKIE = ("Host", "localhost"), ("Origin", "http://localhost"), ("Cookie", "session=s3cret")
PATH = "/.wsguard/here"
ASKED = f"{PATH}?path=/ws"
JSON = ("Content-Type", "application/json")

JWT = Jwt(
    providers=(
        provider(
            "HS256",
            extract_from={
                "cookies": [{"name": "session"}],
                "params": [{"name": "access_token"}],
                "subprotocols": [{"prefix": "bearer."}],
            },
        ),
    )
)
SERVICE = ForwardAuth(url="http://127.0.0.1:9/me", headers_to_ext_auth=("cookie",))
ANN = Identity(
    "corp", "https://idp", "ann", "cookie:session", sid="s-1", expires_at=9e9, claims={"sub": "ann", "exp": 9e9}
)


class Own:
    """A door with one path of the guard's own, whose answer is whom it was judged to be."""

    def __init__(self, backend: RecordingBackend, spec: PolicySpec, guard: GuardSpec | None = None) -> None:
        self.judged: list[Judged] = []
        self.house = House(backend, spec, guard, routes={PATH: self._route})

    async def _route(self, request: web.BaseRequest, effective: Effective) -> web.StreamResponse:
        judged = await judge_request(self.house.env, request, effective)
        if isinstance(judged, web.Response):
            return judged
        self.judged.append(judged)
        return answer({"subject": judged.admit.identity.subject if judged.admit.identity else None})

    async def ask(
        self, *fields: tuple[str, str], target: str = ASKED, method: str = "POST", body: bytes = b""
    ) -> tuple[Head, Any]:
        async with connect(self.house.port) as client:
            more = [("Content-Length", str(len(body)))] if body else []
            await client.send(wire.request(method, target, [*fields, *more]) + body)
            head = await client.head()
            text = await client.body(head)
        assert head.get("cache-control") == "no-store"
        assert not any(name.lower().startswith("access-control-") for name, _ in head.fields)
        return head, json.loads(text)


@asynccontextmanager
async def own(
    backend: RecordingBackend, guard: GuardSpec | None = None, who: Identity | None = ANN, **spec: Any
) -> AsyncIterator[Own]:
    made = Own(backend, PolicySpec(**{"jwt": JWT, **spec}), guard)
    made.house.facts.identity = who
    async with made.house:
        yield made
        assert not backend.conversations  # in no way is any of it forwarded


async def refused(made: Own, *fields: tuple[str, str], target: str = ASKED, body: bytes = b"") -> tuple[int, str]:
    """Status and reason."""
    head, told = await made.ask(*fields, target=target, body=body)
    assert head.get("content-type") == "application/problem+json"
    assert (told["status"], told["title"]) == (head.status, HTTPStatus(head.status).phrase)
    assert "s3cret" not in repr(made.house.notebook.turned)
    assert [status for status, _ in made.house.notebook.turned] == [head.status]
    made.house.notebook.turned.clear()
    assert not made.judged
    return head.status, told["reason"]


async def test_who_would_be_admitted_is_admitted(backend: RecordingBackend) -> None:
    async with own(backend) as made:
        head, told = await made.ask(HOST, ORIGIN, COOKIE)
        assert (head.status, told) == (200, {"subject": "ann"})
        (judged,) = made.judged
        assert (judged.policy.name, judged.case.handshake.path, judged.admit.identity) == ("test", "/ws", ANN)
        assert made.house.notebook.turned == []


@pytest.mark.parametrize(
    "body", [{"query": "access_token=s3cret"}, {"protocols": ["chat", "bearer.s3cret"]}], ids=["query", "subprotocol"]
)
async def test_a_credential_that_only_a_handshake_can_carry_comes_in_the_body(
    backend: RecordingBackend, body: Mapping[str, Any]
) -> None:
    async with own(backend) as made:
        head, _ = await made.ask(HOST, ORIGIN, JSON, body=json.dumps(body).encode())
        assert head.status == 200
        (fact,) = made.judged[0].case.facts
        assert fact.credential.token == "s3cret"


async def test_refusals_have_the_status_and_the_word_of_their_reason(backend: RecordingBackend) -> None:
    foreign = ("Origin", "https://evil.test")
    async with own(backend) as made:
        assert await refused(made, HOST, COOKIE) == (403, "origin-denied")
        assert await refused(made, HOST, COOKIE, foreign) == (403, "origin-denied")
        assert await refused(made, HOST, COOKIE, ("Origin", "null")) == (403, "origin-denied")
        assert await refused(made, HOST, ORIGIN) == (401, "credential-missing")
        assert await refused(made, HOST, ORIGIN, COOKIE, ("Cookie", "session=other")) == (401, "credential-invalid")
        body = b'{"query": "access_token=a&access_token=b"}'
        assert await refused(made, HOST, ORIGIN, JSON, body=body) == (401, "credential-invalid")
        made.house.deny_list.deny_sid(ANN.issuer, "s-1", made.house.clock.wall())
        assert await refused(made, HOST, ORIGIN, COOKIE) == (401, "logged-out")


async def test_a_body_that_becomes_unreadable_is_the_clients_fault(backend: RecordingBackend) -> None:
    async with own(backend) as made, connect(made.house.port) as client:
        fields = [HOST, ORIGIN, JSON, ("Transfer-Encoding", "chunked")]
        await client.send(wire.request("POST", ASKED, fields) + b"2\r\n{}\r\n")
        crowd = made.house.door.crowd
        await eventually(lambda: len(crowd) and not crowd._idle, what="the body is being read")
        await client.send(b"zz\r\n")
        assert (await client.head()).status == 400
        assert made.house.notebook.turned == [(400, "an unreadable request")]
        assert not made.house.notebook.faults


async def test_no_policy_and_no_host_are_told_as_well(backend: RecordingBackend) -> None:
    match = {"paths": [{"type": "Exact", "value": "/other"}]}
    async with own(backend, match=match) as made:
        assert await refused(made, HOST, ORIGIN, COOKIE) == (404, "no-policy")
        head, _ = await made.ask(HOST, ORIGIN, COOKIE, target=f"{PATH}?path=/other")
        assert head.status == 200
    guard = GuardSpec(listener=Listener(allowed_hosts=("localhost",)))
    async with own(backend, guard) as made:
        address = [("Host", "192.0.2.1"), ("Origin", "http://192.0.2.1"), COOKIE]
        assert await refused(made, *address) == (403, "host-denied")


async def test_a_rebound_name_is_turned_away_at_the_door(backend: RecordingBackend) -> None:
    async with own(backend) as made, connect(made.house.port) as client:
        await client.send(wire.request("POST", ASKED, [("Host", "rebound.test"), ("Origin", "http://rebound.test")]))
        assert (await client.head()).status == 421


async def test_a_policy_that_only_audits_lets_nobody_through(backend: RecordingBackend) -> None:
    async with own(backend, enforcement=Enforcement.AUDIT) as made:
        assert await refused(made, HOST, COOKIE, ("Origin", "https://evil.test")) == (403, "origin-denied")
        assert await refused(made, HOST, ORIGIN) == (401, "credential-missing")


@pytest.mark.parametrize("spec", [{"jwt": None}, {"jwt": Jwt(optional=True, providers=JWT.providers)}])
async def test_nobody_is_anonymous_here(backend: RecordingBackend, spec: Mapping[str, Any]) -> None:
    async with own(backend, **spec) as made:
        assert await refused(made, HOST, ORIGIN) == (401, "credential-missing")


@pytest.mark.parametrize(("fields", "status"), [((COOKIE,), 200), ((), 401)])
async def test_where_another_service_is_asked_what_it_is_sent_is_the_credential(
    backend: RecordingBackend, fields: tuple[tuple[str, str], ...], status: int
) -> None:
    """Also where it names nobody; and it is asked what it would be asked about the handshake."""
    asked: list[Question] = []

    class Service:
        def recall(self, question: Question) -> None:
            return None

        async def ask(self, question: Question) -> Approval:
            asked.append(question)
            return Approval()

    async with own(backend, jwt=None, forward_auth=SERVICE) as made:
        made.house.env.approver = Service()
        head, told = await made.ask(HOST, ORIGIN, *fields)
        assert head.status == status
        assert told.get("subject", "none") == (None if status == 200 else "none")
        assert dict(asked[0].fields)["X-Forwarded-Method"] == "GET"
        assert dict(asked[0].fields)["X-Forwarded-Uri"] == "/ws"


async def test_any_origin_is_still_an_origin(backend: RecordingBackend) -> None:
    origin = OriginSpec(allow_origins=(SAME_HOST, OriginPattern.parse("*")), missing="Allow")
    async with own(backend, origin=origin) as made:
        assert await refused(made, HOST, COOKIE) == (403, "origin-denied")


@pytest.mark.parametrize(
    ("method", "target", "fields", "body", "status"),
    [
        ("GET", ASKED, (), b"", 405),
        ("OPTIONS", ASKED, (("Access-Control-Request-Method", "POST"),), b"", 405),
        ("POST", PATH, (), b"", 400),
        ("POST", f"{ASKED}&x=1", (), b"", 400),
        ("POST", f"{PATH}?path=/.wsguard/here", (), b"", 400),
        ("POST", ASKED, (JSON,), b"nonsense", 400),
        ("POST", ASKED, (), b"{}", 415),
        ("POST", ASKED, (JSON,), b" " * (MAX_BODY + 1), 413),
    ],
)
async def test_what_is_no_such_request_is_told_what_is_wrong(
    backend: RecordingBackend, method: str, target: str, fields: tuple[tuple[str, str], ...], body: bytes, status: int
) -> None:
    async with own(backend) as made:
        head, told = await made.ask(HOST, ORIGIN, COOKIE, *fields, method=method, target=target, body=body)
        assert (head.status, told["status"], sorted(told)) == (status, status, ["detail", "status", "title"])
        assert head.get("allow") == ("POST" if status == 405 else None)
        assert [turned for turned, _ in made.house.notebook.turned] == [status]


@pytest.mark.parametrize("target", [PATH + "/", "/.wsguard//here", "/.WSGUARD/here", "/.wsguard/other"])
async def test_only_the_exact_spelling_is_served(backend: RecordingBackend, target: str) -> None:
    async with own(backend) as made, connect(made.house.port) as client:
        await client.send(wire.request("POST", f"{target}?path=/ws", [HOST, ORIGIN, COOKIE]))
        assert (await client.head()).status == 404


async def test_a_handshake_to_it_is_nothing(backend: RecordingBackend) -> None:
    async with own(backend) as made, connect(made.house.port) as client:
        await client.send(wire.upgrade(ASKED, origin="http://localhost"))
        assert (await client.head()).status == 404


async def test_one_deadline_holds_for_body_and_facts(backend: RecordingBackend) -> None:
    guard = GuardSpec(listener=Listener(handshake_timeout=0.3))
    async with own(backend, guard) as made:
        async with connect(made.house.port) as client:
            await client.send(wire.request("POST", ASKED, [HOST, ORIGIN, COOKIE, JSON, ("Content-Length", "5")]) + b"{")
            assert (await client.head()).status == 408
        made.house.notebook.turned.clear()

        async def stuck(*_: object) -> None:
            await asyncio.sleep(60)

        made.house.facts.gather = stuck  # type: ignore[assignment, method-assign]
        async with connect(made.house.port) as client:
            await client.send(wire.request("POST", ASKED, [HOST, ORIGIN, COOKIE]))
            head = await client.head()
            told = json.loads(await client.body(head))
            assert (head.status, told["reason"]) == (500, CloseReason.IDENTITY_UNAVAILABLE.token)
            assert int(head.get("retry-after") or "0") >= 1


async def test_a_bug_is_a_refusal(backend: RecordingBackend) -> None:
    async with own(backend, who=None) as made:
        assert await refused(made, HOST, ORIGIN, COOKIE) == (500, "guard-fault")
        assert len(made.house.notebook.faults) == 1
        made.house.notebook.faults.clear()


async def test_the_next_request_on_the_connection_is_answered_too(backend: RecordingBackend) -> None:
    async with own(backend) as made, connect(made.house.port) as client:
        for fields in ([HOST, ORIGIN, COOKIE], [HOST, ORIGIN], [HOST, ORIGIN, COOKIE]):
            await client.send(wire.request("POST", ASKED, fields))
            head = await client.head()
            await client.body(head)
            assert head.status == (200 if COOKIE in fields else 401)
