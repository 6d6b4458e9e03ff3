"""What is sent to another backend, and which of its answers let a client go on."""

from __future__ import annotations

import pytest

from tests.support import wire
from wsguard.protocol.http import Headers, RequestHead
from wsguard.protocol.upgrade import Answer
from wsguard.proxy.redial import REDIAL, answer_problem, may_change, redial_request

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
HEAD = RequestHead(
    "GET",
    "/ws?room=1",
    (1, 1),
    Headers(((b"Host", b"app"), (b"Sec-WebSocket-Key", KEY), (b"Sec-WebSocket-Protocol", b"chat"))),
)


def accepted(key: bytes, subprotocol: bytes = b"chat") -> Answer:
    fields = [
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Accept", wire.accept(key.decode()).encode()),
    ]
    if subprotocol:
        fields.append((b"Sec-WebSocket-Protocol", subprotocol))
    return Answer(101, Headers(tuple(fields)), b"")


def refused(status: int) -> Answer:
    return Answer(status, Headers(()), b"")


def test_it_is_the_same_request_with_a_key_and_a_number_of_its_own() -> None:
    second, third = redial_request(HEAD, 1), redial_request(HEAD, 2)
    keys = [head.headers.first(b"sec-websocket-key") for head in (HEAD, second, third)]
    assert len(set(keys)) == 3
    assert [head.headers.first(REDIAL.lower()) for head in (HEAD, second, third)] == [None, b"1", b"2"]
    assert (second.method, second.target) == (HEAD.method, HEAD.target)
    assert second.headers.all(b"host") == [b"app"]


def test_the_answer_must_be_as_the_first_one_was() -> None:
    assert answer_problem(accepted(KEY), HEAD, "chat") is None
    assert answer_problem(accepted(KEY, b""), HEAD, "") is None
    assert answer_problem(accepted(KEY, b""), HEAD, "chat") == "the backend speaks no subprotocol now, the client chat"
    assert "the backend's answer" in (answer_problem(accepted(b"another"), HEAD, "chat") or "")
    assert answer_problem(refused(403), HEAD, "chat") == "the backend answered 403"


@pytest.mark.parametrize(
    ("status", "may"), [(401, False), (403, False), (404, False), (408, True), (429, True), (500, True), (503, True)]
)
def test_which_refusals_may_change(status: int, may: bool) -> None:
    assert may_change(refused(status)) is may
