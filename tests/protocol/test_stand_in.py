"""A POST to the guard itself, read as the handshake that it speaks for."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsguard.protocol.handshake import Handshake, HttpRefusal
from wsguard.protocol.http import Headers, RequestHead
from wsguard.protocol.stand_in import stand_in

ORIGIN = (b"Origin", b"https://app.example")
COOKIE = (b"Cookie", b"session=s3cret")


def read(target: str, body: Any = b"", *fields: tuple[bytes, bytes]) -> Handshake | HttpRefusal:
    head = RequestHead("POST", target, (1, 1), Headers(fields or (ORIGIN, COOKIE)))
    return stand_in(head, body if isinstance(body, bytes) else json.dumps(body).encode())


def good(target: str, body: Any = b"", *fields: tuple[bytes, bytes]) -> Handshake:
    handshake = read(target, body, *fields)
    assert isinstance(handshake, Handshake), handshake
    return handshake


def test_it_is_the_handshake_that_the_page_would_open() -> None:
    handshake = good("/.wsguard/x?path=/ws")
    assert (handshake.head.method, handshake.head.target, handshake.path) == ("GET", "/ws", "/ws")
    assert handshake.head.headers.raw == (ORIGIN, COOKIE)
    assert (handshake.origin, handshake.subprotocols, handshake.extensions) == (b"https://app.example", (), None)


@pytest.mark.parametrize("raw", ["/ws", "/", "/ws%20x", "/caf%C3%A9", "/%FF", "/a+b", "/a&b=c"])
def test_a_path_is_written_as_in_the_url_of_the_socket_and_encoded_once_more(raw: str) -> None:
    handshake = good(f"/.wsguard/x?path={quote(raw, safe='')}")
    assert handshake.head.target == raw


def test_what_a_page_can_give_only_a_handshake_is_in_the_body() -> None:
    handshake = good("/.wsguard/x?path=/ws", {"protocols": ["chat", "bearer.t"], "query": "access_token=t&room=1"})
    assert handshake.subprotocols == ("chat", "bearer.t")
    assert (handshake.head.target, handshake.head.query) == ("/ws?access_token=t&room=1", "access_token=t&room=1")
    assert handshake.path == "/ws"


@pytest.mark.parametrize(
    "query",
    [
        "", "?", "?path", "?path=", "?x=1", "?path=/ws&x=1", "?x=1&path=/ws", "?path=/ws&path=/ws", "?PATH=/ws",
        "?%70ath=/ws", "?path=/ws#x", "?path=/w+s", "?path=/ws%", "?path=/ws%2", "?path=/ws%zz", "?path=ws",
        "?path=//ws", "?path=/a/../ws", "?path=/a%2F..%2Fws", "?path=/a%252Fws", "?path=/a;b", "?path=/a%5Cb",
        "?path=/ws%3Fx=1", "?path=/ws%23", "?path=/%00", "?path=/%2500", "?path=/w%20s", "?path=/%C3%A9", "?path=/%FF",
        "?path=/.wsguard/x", "?path=/%252ewsguard", "?path=http://app.example/ws", "?path=/ws=x",
    ],
)  # fmt: skip
def test_any_other_query_is_refused(query: str) -> None:
    refusal = read(f"/.wsguard/x{query}")
    assert isinstance(refusal, HttpRefusal)
    assert refusal.status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"x", b"[]", b"null", b'"x"', b"\xff", b'{"query": "a", "query": "b"}', {"path": "/other"}, {"query": 1},
        {"query": None}, {"query": "a b"}, {"query": "a#b"}, {"query": "a\\b"}, {"query": "\u00e9"}, {"query": "a\r\n"},
        {"protocols": "chat"}, {"protocols": [1]}, {"protocols": [""]}, {"protocols": ["a b"]}, {"protocols": ["a,b"]},
        {"protocols": ["\u00e9"]}, {"protocols": ["a", "a"]},
    ],
)  # fmt: skip
def test_any_other_body_is_refused_and_not_quoted(body: Any) -> None:
    refusal = read("/.wsguard/x?path=/ws", body)
    assert isinstance(refusal, HttpRefusal)
    assert refusal.status == 400


def test_two_origins_are_refused() -> None:
    assert isinstance(read("/.wsguard/x?path=/ws", b"", ORIGIN, ORIGIN), HttpRefusal)


@given(query=st.text(), body=st.binary() | st.dictionaries(st.text(max_size=9), st.text() | st.lists(st.text())))
def test_whatever_comes_is_read_or_refused(query: str, body: Any) -> None:
    assert read(f"/.wsguard/x?path={query}", body) is not None
    assert read("/.wsguard/x?path=/ws", body) is not None


@given(raw=st.text(alphabet="/ws%2Ee.;\\?#é\x00+ "), more=st.text(alphabet="a=&;?#% é\n"))
def test_what_is_read_could_be_the_target_of_a_handshake(raw: str, more: str) -> None:
    handshake = read(f"/.wsguard/x?path={quote(raw, safe='')}", {"query": more})
    if isinstance(handshake, Handshake):
        assert handshake.head.target == (f"{raw}?{more}" if more else raw)
        assert not set(handshake.head.target) & set("#\\ \x00é\n")
