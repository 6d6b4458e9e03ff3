"""Which requests ask for events, which answers are some, and what stands for a handshake."""

from __future__ import annotations

import pytest

from wsguard.protocol.handshake import Handshake, HttpRefusal
from wsguard.protocol.http import Headers, RequestHead
from wsguard.protocol.stream_request import asks_for_events, has_body, is_event_stream, is_preflight, read_request

ORIGIN = (b"Origin", b"https://app.example")
METHOD = (b"Access-Control-Request-Method", b"POST")


def head(*fields: tuple[bytes, bytes], method: str = "GET", target: str = "/poll?x=1") -> RequestHead:
    return RequestHead(method, target, (1, 1), Headers(fields))


@pytest.mark.parametrize(
    ("value", "is_one"),
    [
        (b"text/event-stream", True),
        (b"Text/Event-Stream; charset=utf-8", True),
        (b"*/*, text/event-stream;q=0.1", True),
        (b"text/event-streams", False),
        (b"text/html", False),
        (b"*/*", False),
    ],
    ids=["plain", "parameter", "list", "longer", "other", "any"],
)
def test_the_media_type_is_what_tells(value: bytes, is_one: bool) -> None:
    assert asks_for_events(head((b"accept", value))) is is_one
    assert is_event_stream(Headers(((b"Content-Type", value),))) is is_one


def test_of_several_fields_one_is_enough() -> None:
    assert is_event_stream(Headers(((b"Content-Type", b"text/html"), (b"content-type", b"text/event-stream"))))


def test_a_request_stands_for_a_handshake() -> None:
    read = read_request(head(ORIGIN, method="POST"))
    assert isinstance(read, Handshake)
    assert (read.path, read.origin, read.subprotocols, read.head.method) == ("/poll", ORIGIN[1], (), "POST")


@pytest.mark.parametrize(
    "target", ["//poll", "/a/../poll", "/poll;x", "/%2Fpoll", "/po%00ll", "/%2e%2e/poll", "/poll%", "/%25poll"]
)
def test_an_ambiguous_path_is_refused(target: str) -> None:
    read = read_request(head(target=target))
    assert isinstance(read, HttpRefusal)
    assert read.status == 400


def test_so_are_two_origins() -> None:
    assert isinstance(read_request(head(ORIGIN, ORIGIN)), HttpRefusal)


@pytest.mark.parametrize(
    ("asked", "is_one"),
    [
        (head(ORIGIN, METHOD, method="OPTIONS"), True),
        (head(ORIGIN, METHOD, (b"Content-Length", b"0"), method="OPTIONS"), True),
        (head(ORIGIN, METHOD, (b"Content-Length", b"5"), method="OPTIONS"), False),
        (head(ORIGIN, METHOD, (b"Transfer-Encoding", b"chunked"), method="OPTIONS"), False),
        (head(ORIGIN, method="OPTIONS"), False),
        (head(METHOD, method="OPTIONS"), False),
        (head(ORIGIN, METHOD), False),
    ],
    ids=["preflight", "empty", "body", "chunks", "no-method", "no-origin", "get"],
)
def test_a_preflight_has_an_origin_a_method_and_no_body(asked: RequestHead, is_one: bool) -> None:
    assert is_preflight(asked) is is_one


def test_where_there_can_be_no_body() -> None:
    assert has_body("GET", 200)
    assert not has_body("HEAD", 200)
    assert not has_body("GET", 204)
    assert not has_body("GET", 304)
