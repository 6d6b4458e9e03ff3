"""A handshake is valid, or it is an HTTP refusal: nothing in between (RFC 6455 §4.2.1)."""

from __future__ import annotations

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support import wire
from wsguard.protocol.handshake import (
    Handshake,
    HttpRefusal,
    accept_key,
    is_attempt,
    read_handshake,
    request_problem,
)
from wsguard.protocol.http import Headers, RequestHead

KEY = wire.KEY.encode()
GOOD = {
    b"Host": b"localhost",
    b"Upgrade": b"websocket",
    b"Connection": b"Upgrade",
    b"Sec-WebSocket-Key": KEY,
    b"Sec-WebSocket-Version": b"13",
}


def head(
    *more: tuple[bytes, bytes],
    target: str = "/ws",
    method: str = "GET",
    version: tuple[int, int] = (1, 1),
    **changes: bytes | None,
) -> RequestHead:
    """A good handshake with fields changed (None: left out) and `more` at its end."""
    names = {name.decode().lower().replace("-", "_"): name for name in GOOD}
    fields = {**GOOD, **{names[key]: value for key, value in changes.items()}}
    raw = tuple((name, value) for name, value in fields.items() if value is not None)
    return RequestHead(method, target, version, Headers((*raw, *more)))


def test_the_example_of_rfc_6455() -> None:
    """§1.3."""
    assert accept_key(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_a_good_handshake_is_read() -> None:
    sent = head(
        (b"Origin", b"https://app.example.com"),
        (b"Sec-WebSocket-Protocol", b"chat ,\tsuperchat"),
        (b"sec-websocket-protocol", b"third"),
        (b"Sec-WebSocket-Extensions", b"a; b=1"),
        (b"Sec-WebSocket-Extensions", b"c"),
        target="/w%73?q=%2F",
    )
    assert read_handshake(sent) == Handshake(
        head=sent,
        path="/ws",
        key=KEY,
        origin=b"https://app.example.com",
        subprotocols=("chat", "superchat", "third"),
        extensions=b"a; b=1, c",
    )


@pytest.mark.parametrize(
    "sent",
    [
        head(upgrade=b"WebSocket"),
        head(connection=b"keep-alive, Upgrade"),
        head(connection=b"UPGRADE"),
        head((b"Content-Length", b"0")),
        head((b"Origin", b"null")),
        head((b"Origin", b"")),
    ],
)
def test_what_clients_do_send_is_valid(sent: RequestHead) -> None:
    handshake = read_handshake(sent)
    assert isinstance(handshake, Handshake)
    assert (handshake.subprotocols, handshake.extensions) == ((), None)


REFUSED = {
    "POST": (head(method="POST"), 405),
    "HEAD": (head(method="HEAD"), 405),
    "HTTP/1.0": (head(version=(1, 0)), 400),
    "no Upgrade": (head(upgrade=None), 426),
    "another Upgrade": (head(upgrade=b"h2c"), 426),
    "two Upgrades": (head(upgrade=b"websocket, h2c"), 426),
    "two Upgrade fields": (head((b"Upgrade", b"h2c")), 426),
    "a version in Upgrade": (head(upgrade=b"websocket/13"), 426),
    "no Connection": (head(connection=None), 426),
    "Connection: close": (head(connection=b"close"), 426),
    "Connection names a field": (head(connection=b"Upgrade, Origin"), 400),
    "Connection: close as well": (head((b"Connection", b"close")), 400),
    "no key": (head(sec_websocket_key=None), 400),
    "an empty key": (head(sec_websocket_key=b""), 400),
    "a short key": (head(sec_websocket_key=base64.b64encode(bytes(15))), 400),
    "a long key": (head(sec_websocket_key=base64.b64encode(bytes(17))), 400),
    "a key with a newline's escape": (head(sec_websocket_key=KEY[:-2] + b"=\n="), 400),
    "a key in another alphabet": (head(sec_websocket_key=b"-_" + KEY[2:]), 400),
    "a key with spaces in it": (head(sec_websocket_key=KEY[:10] + b" " + KEY[10:]), 400),
    "two keys": (head((b"Sec-WebSocket-Key", KEY)), 400),
    "no version": (head(sec_websocket_version=None), 426),
    "version 8": (head(sec_websocket_version=b"8"), 426),
    "version 013": (head(sec_websocket_version=b"013"), 426),
    "two versions": (head(sec_websocket_version=b"13, 8"), 426),
    "two Origins": (head((b"Origin", b"https://a"), (b"origin", b"https://a")), 400),
    "a body": (head((b"Content-Length", b"5")), 400),
    "a length of -0": (head((b"Content-Length", b"-0")), 400),
    "a length of 00": (head((b"Content-Length", b"00")), 400),
    "chunks": (head((b"Transfer-Encoding", b"chunked")), 400),
    "an empty subprotocol": (head((b"Sec-WebSocket-Protocol", b"")), 400),
    "a gap among subprotocols": (head((b"Sec-WebSocket-Protocol", b"a,,b")), 400),
    "a subprotocol that is no token": (head((b"Sec-WebSocket-Protocol", b"a b")), 400),
    "a subprotocol beyond ASCII": (head((b"Sec-WebSocket-Protocol", b"\xe9")), 400),
    "a subprotocol twice": (head((b"Sec-WebSocket-Protocol", b"a, a")), 400),
    "a subprotocol in two fields": (head((b"Sec-WebSocket-Protocol", b"a"), (b"Sec-WebSocket-Protocol", b"a")), 400),
    "dot segments": (head(target="/ws/../admin"), 400),
    "an encoded slash": (head(target="/ws%2fadmin"), 400),
    "an encoded NUL": (head(target="/ws%00"), 400),
    "two slashes": (head(target="//ws"), 400),
    "a semicolon": (head(target="/ws;admin"), 400),
    "a broken escape": (head(target="/ws%4"), 400),
}


@pytest.mark.parametrize("name", REFUSED)
def test_anything_else_is_refused(name: str) -> None:
    sent, status = REFUSED[name]
    refusal = read_handshake(sent)
    assert isinstance(refusal, HttpRefusal)
    assert refusal.status == status
    assert refusal.why


def test_a_refusal_says_what_would_be_right() -> None:
    """RFC 9110 §15.5.6 and §15.5.22, RFC 6455 §4.4."""
    said = [
        refusal.headers
        for refusal in (read_handshake(REFUSED[name][0]) for name in ("POST", "no Upgrade", "version 8"))
        if isinstance(refusal, HttpRefusal)
    ]
    assert said == [(("Allow", "GET"),), (("Upgrade", "websocket"),), (("Sec-WebSocket-Version", "13"),)]


NAMES = st.sampled_from(
    [*GOOD, b"Origin", b"Sec-WebSocket-Protocol", b"Sec-WebSocket-Extensions", b"Content-Length", b"Transfer-Encoding"]
)
VALUES = st.sampled_from([*GOOD.values(), b"", b"0", b"chunked", b"a, b", b"https://a"]) | st.binary(max_size=20)


@example([(b"Upgrade", b"")], None, "GET", "/")
@given(
    st.lists(st.tuples(NAMES, VALUES), max_size=4),
    st.sampled_from(sorted(GOOD)) | st.none(),
    st.sampled_from(["GET", "get", "POST"]),
    st.text(st.characters(max_codepoint=255), max_size=10).map("/".__add__),
)
def test_any_head_is_a_handshake_or_a_refusal(
    more: list[tuple[bytes, bytes]], missing: bytes | None, method: str, target: str
) -> None:
    """And where it is a handshake, any parser reads it as the same one."""
    raw = tuple((name, value) for name, value in GOOD.items() if name != missing)
    read = read_handshake(RequestHead(method, target, (1, 1), Headers((*raw, *more))))
    if isinstance(read, HttpRefusal):
        assert 400 <= read.status < 500
        return
    headers = read.head.headers
    assert read.head.method == "GET"
    for name in (b"sec-websocket-key", b"sec-websocket-version", b"upgrade"):
        assert len(headers.all(name)) == 1
    assert len(headers.all(b"origin")) <= 1
    assert not headers.all(b"transfer-encoding")
    assert len(base64.b64decode(read.key)) == 16
    assert set(headers.tokens(b"connection")) <= {b"upgrade", b"keep-alive"}


# What every request must pass.


HOST = (b"Host", b"a")
ANYWHERE = {
    "HTTP/0.9": (RequestHead("GET", "/", (0, 9), Headers((HOST,))), 505),
    "HTTP/1.2": (RequestHead("GET", "/", (1, 2), Headers((HOST,))), 505),
    "HTTP/2": (RequestHead("GET", "/", (2, 0), Headers((HOST,))), 505),
    "CONNECT": (RequestHead("CONNECT", "a:80", (1, 1), Headers((HOST,))), 405),
    "TRACE": (RequestHead("TRACE", "/", (1, 1), Headers((HOST,))), 405),
    "absolute form": (RequestHead("GET", "http://a/", (1, 1), Headers((HOST,))), 400),
    "asterisk form": (RequestHead("OPTIONS", "*", (1, 1), Headers((HOST,))), 400),
    "a fragment": (RequestHead("GET", "/#f", (1, 1), Headers((HOST,))), 400),
    "a backslash": (RequestHead("GET", "/\\", (1, 1), Headers((HOST,))), 400),
    "no Host": (RequestHead("GET", "/", (1, 1), Headers()), 400),
    "two Hosts": (RequestHead("GET", "/", (1, 1), Headers((HOST, HOST))), 400),
}
BAD_HOSTS = [b"", b"a@b", b"a/b", b"a,b", b"a b", b"a:b", b"[::1"]


@pytest.mark.parametrize("name", ANYWHERE)
def test_a_request_of_any_kind_is_refused_where_parsers_differ(name: str) -> None:
    sent, status = ANYWHERE[name]
    refusal = request_problem(sent)
    assert refusal is not None
    assert refusal.status == status


@pytest.mark.parametrize("host", BAD_HOSTS)
def test_a_host_is_one_authority(host: bytes) -> None:
    refusal = request_problem(RequestHead("GET", "/", (1, 1), Headers(((b"Host", host),))))
    assert refusal is not None
    assert refusal.status == 400


@pytest.mark.parametrize(
    ("fields", "version", "good"),
    [
        ({b"Transfer-Encoding": b"chunked"}, (1, 1), True),
        ({b"Transfer-Encoding": b" Chunked "}, (1, 1), True),
        ({b"Content-Length": b"5"}, (1, 0), True),
        ({b"Transfer-Encoding": b"chunked"}, (1, 0), False),
        ({b"Transfer-Encoding": b"chunked", b"Content-Length": b"5"}, (1, 1), False),
        ({b"Transfer-Encoding": b"identity"}, (1, 1), False),
        ({b"Transfer-Encoding": b"gzip, chunked"}, (1, 1), False),
        ({b"Transfer-Encoding": b"chunked, chunked"}, (1, 1), False),
        ({b"Transfer-Encoding": b"xchunked"}, (1, 1), False),
        ({b"Transfer-Encoding": b""}, (1, 1), False),
        ({b"Transfer-Encoding": b"chunked", b"transfer-encoding": b"chunked"}, (1, 1), False),
    ],
)
def test_a_body_has_one_length(fields: dict[bytes, bytes], version: tuple[int, int], good: bool) -> None:
    """RFC 9112 §6.1."""
    sent = RequestHead("POST", "/", version, Headers(((b"Host", b"a"), *fields.items())))
    refusal = request_problem(sent)
    assert (refusal is None) == good
    assert refusal is None or refusal.status == 400


@pytest.mark.parametrize(
    ("fields", "attempt"),
    [
        ((), False),
        (((b"Upgrade", b"h2c"),), False),
        (((b"Upgrade", b"h2c, WEBSOCKET"),), True),
        (((b"upgrade", b"h2c"), (b"UPGRADE", b"websocket")), True),
        (((b"Sec-WebSocket-Key", KEY),), True),
        (((b"sec-WEBSOCKET-anything", b""),), True),
        (((b"X-Sec-WebSocket-Key", KEY),), False),
        (((b"Connection", b"Upgrade"),), False),
    ],
)
def test_what_smells_of_a_websocket_is_an_attempt(fields: tuple[tuple[bytes, bytes], ...], attempt: bool) -> None:
    sent = RequestHead("GET", "/", (1, 1), Headers(((b"Host", b"a"), *fields)))
    assert is_attempt(sent) == attempt
