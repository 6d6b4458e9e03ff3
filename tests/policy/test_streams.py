"""What is judged as a stream, and what the checks make of a request without an Origin."""

from __future__ import annotations

from typing import Any

import pytest

from tests.proxy.house import policy_set
from wsguard.policy.case import Case
from wsguard.policy.decision import Refuse
from wsguard.policy.effective import Effective
from wsguard.policy.judge import judge_early
from wsguard.policy.lint import lint_policy
from wsguard.policy.model import Metadata, PolicySpec, WebSocketPolicy
from wsguard.policy.page import page_of, written
from wsguard.policy.problems import Severity
from wsguard.policy.rejudge import kept, rejudge
from wsguard.policy.streams import reach
from wsguard.protocol.authority import parse_authority
from wsguard.protocol.handshake import Handshake
from wsguard.protocol.http import Headers, RequestHead
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.stream_request import read_request
from wsguard.sessions.connection import Stream
from wsguard.sessions.denylist import DenyList

POLL, EVENTS, SOCKET = Stream.LONG_POLLING, Stream.SERVER_SENT_EVENTS, Stream.WEB_SOCKET
HERE = (b"Sec-Fetch-Site", b"same-origin")
COOKIE = (b"Cookie", b"session=1")
AUTHORITY = parse_authority("localhost:8080")


def spec(*streams: Stream, **more: Any) -> PolicySpec:
    return PolicySpec.model_validate({"streams": [each.value for each in streams], **more})


def paths(value: str) -> dict[str, Any]:
    return {"paths": [{"type": "PathPrefix", "value": value}]}


def refused(
    *fields: tuple[bytes, bytes],
    method: str = "GET",
    stream: Stream = POLL,
    host: str = "localhost:8080",
    scheme: str | None = None,
    **more: Any,
) -> CloseReason | None:
    policies = policy_set(chat=spec(SOCKET, EVENTS, POLL, **more))
    head = RequestHead(method, "/poll", (1, 1), Headers(fields))
    handshake, authority = read_request(head), parse_authority(host)
    assert isinstance(handshake, Handshake)
    effective = Effective(None, scheme, authority, trusted_peer=False)
    (policy,) = policies.policies
    refusal = judge_early(Case(handshake, effective, policy, policies, 0.0, DenyList(), stream=stream))
    return None if refusal is None else refusal.reason


def test_a_page_of_the_host_itself_needs_no_origin() -> None:
    assert refused(HERE, COOKIE) is None
    assert refused(HERE, COOKIE, method="HEAD") is None
    assert refused(COOKIE) is CloseReason.ORIGIN_DENIED
    assert refused() is None, "a program"


@pytest.mark.parametrize("site", [b"same-site", b"cross-site", b"none", b"same-origin, same-origin", b""])
def test_no_other_word_is_as_good(site: bytes) -> None:
    assert refused((b"Sec-Fetch-Site", site), COOKIE) is CloseReason.ORIGIN_DENIED


def test_the_word_counts_for_nothing_where_there_is_an_origin() -> None:
    assert refused(HERE, (b"Origin", b"https://evil.example")) is CloseReason.ORIGIN_DENIED
    assert refused(HERE, (b"Origin", b"null")) is CloseReason.ORIGIN_DENIED


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "BREW"])
def test_what_changes_something_must_have_an_origin(method: str) -> None:
    assert refused(HERE, method=method) is CloseReason.ORIGIN_DENIED
    assert refused(method=method, origin={"missing": "Allow"}) is CloseReason.ORIGIN_DENIED
    assert refused((b"Origin", b"http://localhost:8080"), method=method) is None


def test_same_host_must_be_allowed_for_it() -> None:
    elsewhere: dict[str, Any] = {"origin": {"allowOrigins": ["https://other.example"]}}
    assert refused(HERE, **elsewhere) is CloseReason.ORIGIN_DENIED
    named: dict[str, Any] = {
        "origin": {"allowOrigins": ["https://app.example"]},
        "match": {"hostnames": ["app.example"]},
    }
    assert refused(HERE, host="app.example", **named) is None


def test_a_websocket_has_no_such_word() -> None:
    assert refused(HERE, COOKIE, stream=SOCKET) is CloseReason.ORIGIN_DENIED


@pytest.mark.parametrize(
    ("host", "scheme", "origin"),
    [
        ("localhost:8080", None, "http://localhost:8080"),
        ("127.0.0.1:8080", None, "http://127.0.0.1:8080"),
        ("[::1]:8080", None, "http://[::1]:8080"),
        ("app.example", None, "https://app.example"),
        ("app.example:443", "https", "https://app.example"),
    ],
)
def test_the_page_that_the_word_stands_for(host: str, scheme: str | None, origin: str) -> None:
    head = RequestHead("GET", "/", (1, 1), Headers((HERE,)))
    page = page_of(head, Effective(None, scheme, parse_authority(host), trusted_peer=False))
    assert page is not None
    assert written(page) == origin


def test_a_policy_is_for_the_streams_that_it_lists() -> None:
    policies = policy_set(chat=spec(EVENTS))
    handshake = read_request(RequestHead("GET", "/", (1, 1), Headers()))
    assert isinstance(handshake, Handshake)
    effective = Effective(None, None, AUTHORITY, trusted_peer=False)
    case = Case(handshake, effective, policies.policies[0], policies, 0.0, DenyList())
    refusal = judge_early(case)
    assert refusal is not None
    assert refusal.reason is CloseReason.NO_POLICY
    case.stream = EVENTS
    assert judge_early(case) is None


def test_a_stream_that_is_judged_again_is_still_of_its_page() -> None:
    policies = policy_set(chat=spec(EVENTS))
    handshake = read_request(RequestHead("GET", "/", (1, 1), Headers((HERE, COOKIE))))
    assert isinstance(handshake, Handshake)
    effective = Effective(None, None, AUTHORITY, trusted_peer=False)
    case = kept(Case(handshake, effective, policies.policies[0], policies, 0.0, DenyList(), stream=EVENTS))
    assert b"session" not in repr(case.handshake.head.headers).encode()
    _, decision = rejudge(case, policies, 0.0)
    assert not isinstance(decision, Refuse)
    _, decision = rejudge(case, policy_set(chat=spec(SOCKET)), 0.0)
    assert isinstance(decision, Refuse)
    assert decision.reason is CloseReason.NO_POLICY


def test_what_is_judged_where() -> None:
    policies = policy_set(
        polls=spec(POLL, match=paths("/poll")), both=spec(SOCKET, EVENTS, match=paths("/e")), ws=spec(SOCKET)
    )
    assert policies.judges_http
    plain, asking = (RequestHead("GET", "/", (1, 1), Headers(it)) for it in ((), ((b"Accept", b"text/event-stream"),)))
    polls, events, neither = (reach(policies, AUTHORITY, target) for target in ("/poll/1", "/e?x=//", "/other"))
    assert polls.asked_as(plain) is polls.asked_as(asking) is POLL
    assert (events.asked_as(plain), events.asked_as(asking)) == (None, EVENTS)
    assert not neither.streams
    assert not policy_set(ws=spec(SOCKET)).judges_http


@pytest.mark.parametrize("target", ["//poll", "/x/..%2fpoll", "/%2570oll", "/poll;a/1", "/x/..;/poll/1", "/po%6Cl//x"])
def test_no_spelling_leads_past_what_is_judged(target: str) -> None:
    policies = policy_set(polls=spec(POLL, match=paths("/poll")))
    assert reach(policies, AUTHORITY, target).streams == {POLL}


def test_odd_spellings_of_other_paths_are_left_alone() -> None:
    policies = policy_set(polls=spec(POLL, match=paths("/poll")))
    for target in ("/wiki/a%2Fb", "/page;jsessionid=1", "/wiki//poll"):
        assert not reach(policies, AUTHORITY, target).streams


def findings(**more: Any) -> list[tuple[str | int, Severity]]:
    policy = WebSocketPolicy(metadata=Metadata(name="chat"), spec=PolicySpec.model_validate(more))
    return [(found.path[-1], found.severity) for found in lint_policy(policy)]


def test_what_lint_says() -> None:
    warning, error = Severity.WARNING, Severity.ERROR
    assert findings(streams=["WebSocket"]) == []
    assert findings(streams=["WebSocket", "ServerSentEvents"]) == []
    assert findings(streams=["WebSocket", "LongPolling"]) == [(1, warning)]
    assert findings(streams=["LongPolling"], match=paths("/poll")) == []
    hint = {"hint": {"dialect": "custom", "message": "bye"}}
    assert findings(streams=["ServerSentEvents"], migration=hint) == [("migration", error)]
