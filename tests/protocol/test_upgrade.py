"""The handshake towards the backend: what is sent, and how an answer is read, whole and byte by byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import wire
from wsguard.protocol.http import Headers, RequestHead
from wsguard.protocol.upgrade import (
    MAX_HEAD,
    MAX_INTERIM,
    Answer,
    AnswerReader,
    BadAnswer,
    check_switch,
    chosen_subprotocol,
    switching_protocols,
    upgrade_request,
)

KEY = wire.KEY.encode()
ACCEPT = wire.accept(wire.KEY).encode()
GOOD = ((b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"), (b"Sec-WebSocket-Accept", ACCEPT))


def read(*pieces: bytes) -> Answer | None:
    """The answer after all of `pieces`; those behind the head are no longer fed."""
    reader, answer = AnswerReader(), None
    for piece in pieces:
        answer = answer or reader.feed(piece)
    return answer


def byte_by_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


# What is sent.


def test_the_request_is_the_clients_with_hop_by_hop_fields_of_our_own() -> None:
    fields = (
        (b"host", b"a"),
        (b"UPGRADE", b"WebSocket"),
        (b"Connection", b"keep-alive, Upgrade"),
        (b"Keep-Alive", b"5"),
        (b"Content-Length", b"0"),
        (b"Expect", b"100-continue"),
        (b"X-Odd", b"caf\xe9"),
        (b"Sec-WebSocket-Key", KEY),
    )
    head = RequestHead("GET", "/ws%41?x=%2f&", (1, 1), Headers(fields))
    assert upgrade_request(head) == (
        b"GET /ws%41?x=%2f& HTTP/1.1\r\nhost: a\r\nX-Odd: caf\xe9\r\nSec-WebSocket-Key: " + KEY + b"\r\n"
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )


def test_the_101_for_the_client_proves_its_own_key() -> None:
    fields = (
        (b"Upgrade", b"something"),
        (b"Connection", b"close"),
        (b"Sec-WebSocket-Accept", b"another"),
        (b"Content-Length", b"5"),
        (b"Set-Cookie", b"a=1"),
        (b"Sec-WebSocket-Protocol", b"chat"),
    )
    head = wire.read_head(switching_protocols(KEY, Headers(fields)))
    assert head.start == "HTTP/1.1 101 Switching Protocols"
    assert head.fields == (
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", ACCEPT.decode()),
        ("Set-Cookie", "a=1"),
        ("Sec-WebSocket-Protocol", "chat"),
    )


# How an answer is read.


ANSWERS = {
    "plain": (b"HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\n", 101, ((b"A", b"b"),)),
    "no reason": (b"HTTP/1.1 200 \r\n\r\n", 200, ()),
    "no space behind the status": (b"HTTP/1.1 403\r\n\r\n", 403, ()),
    "HTTP/1.0": (b"HTTP/1.0 500 Oops\r\n\r\n", 500, ()),
    "odd values": (b"HTTP/1.1 200 OK\r\nA:\t caf\xe9: x \r\na:\r\n\r\n", 200, ((b"A", b"caf\xe9: x"), (b"a", b""))),
    "interim": (b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 100 Go\r\n\r\nHTTP/1.1 404 No\r\n\r\n", 404, ()),
    "as many interim as may be": (b"HTTP/1.1 102 P\r\n\r\n" * MAX_INTERIM + b"HTTP/1.1 200 OK\r\n\r\n", 200, ()),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_read_whole_and_byte_by_byte(name: str) -> None:
    data, status, fields = ANSWERS[name]
    assert read(data) == read(*byte_by_byte(data)) == Answer(status, Headers(fields), b"")
    assert read(data + b"tail") == Answer(status, Headers(fields), b"tail")


@given(st.binary(max_size=30), st.integers(0, 80))
def test_the_tail_is_all_that_stands_behind_the_head(tail: bytes, cut: int) -> None:
    data = ANSWERS["plain"][0] + tail
    reader = AnswerReader()
    answer = reader.feed(data[:cut])
    rest = data[cut:]
    if answer is None:
        answer, rest = reader.feed(rest), b""
    assert answer is not None
    assert answer.tail + rest == tail


BAD = {
    "another protocol": b"SSH-2.0-OpenSSH\r\n\r\n",
    "HTTP/2": b"HTTP/2 200 OK\r\n\r\n",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\n\r\n",
    "HTTP/0.9": b"<html>\r\n\r\n",
    "two digits": b"HTTP/1.1 99 No\r\n\r\n",
    "four digits": b"HTTP/1.1 1000 No\r\n\r\n",
    "no number": b"HTTP/1.1 OK\r\n\r\n",
    "a zero": b"HTTP/1.1 099 No\r\n\r\n",
    "two spaces": b"HTTP/1.1  200 OK\r\n\r\n",
    "a bare line feed in the reason": b"HTTP/1.1 200 O\nK\r\n\r\n",
    "a bare line feed": b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n",
    "a bare carriage return": b"HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n",
    "a NUL": b"HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
    "a folded field": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
    "a space before the colon": b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
    "no colon": b"HTTP/1.1 200 OK\r\nA\r\n\r\n",
    "no name": b"HTTP/1.1 200 OK\r\n: b\r\n\r\n",
    "a name that is no token": b"HTTP/1.1 200 OK\r\nA\xe9: b\r\n\r\n",
    "too many interim": b"HTTP/1.1 100 Go\r\n\r\n" * (MAX_INTERIM + 1),
    "a head without end": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * (MAX_HEAD // 6),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_answer_is_refused_whole_and_in_pieces(name: str) -> None:
    data = BAD[name]
    with pytest.raises(BadAnswer):
        read(data)
    with pytest.raises(BadAnswer):
        read(*(byte_by_byte(data) if len(data) < 1000 else [data[:30_000], data[30_000:60_000], data[60_000:]]))


@pytest.mark.parametrize("garbage", [b"X", b"HTTP/2", b"\x00", b"\r\n"])
def test_what_cannot_become_http_is_refused_at_once(garbage: bytes) -> None:
    """A server that speaks first waits for us: no blank line will ever come."""
    with pytest.raises(BadAnswer, match="not HTTP/1"):
        AnswerReader().feed(garbage)


@given(st.binary(max_size=60), st.integers(0, 60))
def test_any_bytes_are_an_answer_or_bad_however_they_are_cut(noise: bytes, cut: int) -> None:
    data = b"HTTP/1.1 200 OK\r\n" + noise + b"\r\n\r\n"

    def outcome(*pieces: bytes) -> tuple[int, Headers] | None:
        try:
            answer = read(*pieces)
        except BadAnswer:
            return None
        assert answer is not None
        return answer.status, answer.headers

    assert outcome(data) == outcome(data[:cut], data[cut:]) == outcome(*byte_by_byte(data))


# What proves that the backend took part.


def switch(*fields: tuple[bytes, bytes], offered: tuple[str, ...] = (), extensions: bytes | None = None) -> None:
    check_switch(Answer(101, Headers(fields), b""), KEY, offered, extensions)


def test_a_right_101_passes() -> None:
    switch(*GOOD)
    switch((b"upgrade", b"WebSocket"), (b"CONNECTION", b"keep-alive, upgrade"), (b"sec-websocket-accept", ACCEPT))
    switch(*GOOD, (b"Sec-WebSocket-Protocol", b"chat"), offered=("superchat", "chat"))
    switch(*GOOD, (b"Sec-WebSocket-Extensions", b"permessage-deflate; a=1"), extensions=b"x-y, Permessage-Deflate; b")


WRONG = {
    "no upgrade": (GOOD[1:], "Upgrade"),
    "another upgrade": (((b"Upgrade", b"h2c"), *GOOD[1:]), "Upgrade"),
    "two upgrades": (((b"Upgrade", b"websocket, h2c"), *GOOD[1:]), "Upgrade"),
    "no connection": ((GOOD[0], GOOD[2]), "Connection"),
    "another connection": ((GOOD[0], (b"Connection", b"close"), GOOD[2]), "Connection"),
    "no accept": (GOOD[:2], "Accept"),
    "a wrong accept": ((*GOOD[:2], (b"Sec-WebSocket-Accept", b"AAAA")), "Accept"),
    "an accept in another case": ((*GOOD[:2], (b"Sec-WebSocket-Accept", ACCEPT.swapcase())), "Accept"),
    "the key itself": ((*GOOD[:2], (b"Sec-WebSocket-Accept", KEY)), "Accept"),
    "two accepts": ((*GOOD, GOOD[2]), "Accept"),
    "a subprotocol that was not offered": ((*GOOD, (b"Sec-WebSocket-Protocol", b"other")), "subprotocol"),
    "a subprotocol in another case": ((*GOOD, (b"Sec-WebSocket-Protocol", b"CHAT")), "subprotocol"),
    "an empty subprotocol": ((*GOOD, (b"Sec-WebSocket-Protocol", b"")), "subprotocol"),
    "two subprotocols": ((*GOOD, (b"Sec-WebSocket-Protocol", b"chat, superchat")), "subprotocol"),
    "a subprotocol twice": ((*GOOD, *[(b"Sec-WebSocket-Protocol", b"chat")] * 2), "subprotocol"),
    "an extension that was not offered": ((*GOOD, (b"Sec-WebSocket-Extensions", b"x-webkit")), "extension"),
    "one offered, one not": ((*GOOD, (b"Sec-WebSocket-Extensions", b"permessage-deflate, x-y")), "extension"),
}


@pytest.mark.parametrize("name", WRONG)
def test_anything_else_opens_no_tunnel(name: str) -> None:
    fields, why = WRONG[name]
    with pytest.raises(BadAnswer, match=why):
        switch(*fields, offered=("chat", "superchat"), extensions=b"permessage-deflate")


def test_the_chosen_subprotocol_is_the_field_as_sent() -> None:
    field = (b"sec-websocket-PROTOCOL", b"chat")
    assert chosen_subprotocol(Headers((*GOOD, field))) == (field,)
    assert chosen_subprotocol(Headers(GOOD)) == ()
