from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsguard.policy.effective import Effective
from wsguard.policy.origin import SAME_HOST, MissingOrigin, Origin, OriginPattern, allows, is_missing_denied
from wsguard.protocol.authority import parse_authority
from wsguard.protocol.http import Headers, RequestHead
from wsguard.sessions.identity import ClientCertificate


def asked_for(host: str, scheme: str | None = None) -> Effective:
    return Effective(None, scheme, parse_authority(host), scheme is not None)


def allowed(pattern: str, origin: str, effective: Effective | None = None) -> bool:
    effective = effective or asked_for("backend.internal:3000")
    return allows((OriginPattern.parse(pattern),), Origin.parse(origin.encode()), effective)


@pytest.mark.parametrize(
    ("raw", "origin"),
    [
        (b"https://app.example.com", Origin("https", "app.example.com", 443)),
        (b"http://app.example.com", Origin("http", "app.example.com", 80)),
        (b"HTTPS://App.Example.COM", Origin("https", "app.example.com", 443)),
        (b"https://app.example.com.", Origin("https", "app.example.com", 443)),
        (b"https://app.example.com:443", Origin("https", "app.example.com", 443)),
        (b"https://app.example.com:8443", Origin("https", "app.example.com", 8443)),
        (b"http://[2001:DB8:0::1]:8080", Origin("http", "[2001:db8::1]", 8080)),
        ("https://bücher.example".encode(), Origin("https", "xn--bcher-kva.example", 443)),
        (b"https://xn--bcher-kva.example", Origin("https", "xn--bcher-kva.example", 443)),
        (b"capacitor://localhost", Origin("capacitor", "localhost", None)),
        (b"null", Origin(is_null=True)),
    ],
)
def test_reads_an_origin(raw: bytes, origin: Origin) -> None:
    assert Origin.parse(raw) == origin


GARBAGE = [
    "",
    " ",
    "NULL",
    "Null",
    "null ",
    "null, null",
    "undefined",
    "*",
    "app.example.com",
    "//app.example.com",
    "https:app.example.com",
    "https:/app.example.com",
    "https:///app.example.com",
    "https:\\\\app.example.com",
    "https://",
    "https://:443",
    "https://app.example.com/",
    "https://app.example.com/ws",
    "https://app.example.com?x",
    "https://app.example.com#x",
    "https://app.example.com:",
    "https://app.example.com:0",
    "https://app.example.com:99999",
    "https://app.example.com:443:443",
    "https://user@app.example.com",
    "https://evil.test@app.example.com",
    "https://app.example.com@evil.test",
    "https://app.example.com\\@evil.test",
    "https://app.example.com https://evil.test",
    "https://evil.test, https://app.example.com",
    "https://app.example.com,https://app.example.com",
    " https://app.example.com",
    "https://app.example.com\t",
    "https://app.example.com\0",
    "https://app.example.com\0.evil.test",
    "https://app%2eexample.com",
    "https://app.example.com%00.evil.test",
    "https://*.example.com",
    "https://app..example.com",
    "https://.app.example.com",
    "1https://app.example.com",
    "ht tps://app.example.com",
    "https://127.1",
    "https://[::1",
    "https://[fe80::1%25eth0]",
    "file://",
    "about:blank",
    "data:text/html,x",
]


@pytest.mark.parametrize("origin", GARBAGE)
@pytest.mark.parametrize("pattern", ["SameHost", "*", "null", "https://app.example.com", "https://*.example.com"])
def test_garbage_is_allowed_by_nothing(pattern: str, origin: str) -> None:
    assert not allowed(pattern, origin, asked_for("app.example.com", "https"))


@given(st.binary() | st.text(alphabet="htps:/.aA0[]@*%é-", max_size=20).map(str.encode))
def test_any_bytes_are_an_origin_or_none(raw: bytes) -> None:
    origin = Origin.parse(raw)
    assert origin.is_null is (raw == b"null")
    if origin.scheme:
        written = f"{origin.scheme}://{origin.host}" + (f":{origin.port}" if origin.port else "")
        assert Origin.parse(written.encode()) == origin


@pytest.mark.parametrize(
    ("pattern", "origin", "expected"),
    [
        # An origin: scheme, host and port, each in one spelling.
        ("https://app.example.com", "https://app.example.com", True),
        ("https://app.example.com", "https://APP.example.com", True),
        ("https://APP.example.com.", "https://app.example.com", True),
        ("https://app.example.com", "https://app.example.com.", True),
        ("https://app.example.com", "https://app.example.com:443", True),
        ("https://app.example.com:443", "https://app.example.com", True),
        ("http://app.example.com:80", "http://app.example.com", True),
        ("https://app.example.com", "https://app.example.com:8443", False),
        ("https://app.example.com:8443", "https://app.example.com", False),
        ("https://app.example.com:80", "http://app.example.com", False),
        ("https://app.example.com", "http://app.example.com", False),
        ("http://app.example.com", "https://app.example.com", False),
        ("https://app.example.com", "wss://app.example.com", False),
        ("https://app.example.com", "https://app.example.com.evil.test", False),
        ("https://app.example.com", "https://evil.test", False),
        ("https://app.example.com", "https://example.com", False),
        ("https://app.example.com", "https://xapp.example.com", False),
        ("https://app.example.com", "https://appxexample.com", False),
        ("https://app.example.com", "null", False),
        ("https://bücher.example", "https://xn--bcher-kva.example", True),
        ("https://xn--bcher-kva.example", "https://bücher.example", True),
        ("https://BÜCHER.example", "https://XN--bcher-kva.EXAMPLE", True),
        ("https://app.example.com", "https://\u0430pp.example.com", False),  # a Cyrillic letter that looks like a
        ("http://[::1]:3000", "http://[0:0:0:0:0:0:0:1]:3000", True),
        ("http://[2001:DB8::A]", "http://[2001:db8::a]:80", True),
        ("http://[::1]:3000", "http://127.0.0.1:3000", False),
        ("http://[::ffff:127.0.0.1]", "http://[::ffff:7f00:1]", True),
        ("http://localhost:3000", "http://localhost:3000", True),
        ("http://localhost:3000", "http://localhost", False),
        ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh", True),
        ("capacitor://localhost", "http://localhost", False),
        # A wildcard subdomain: one or more labels, and nothing else of the origin.
        ("https://*.example.com", "https://a.example.com", True),
        ("https://*.example.com", "https://a.b.example.com", True),
        ("https://*.example.com", "https://A.Example.com.:443", True),
        ("https://*.example.com", "https://example.com", False),
        ("https://*.example.com", "https://example.com.evil.test", False),
        ("https://*.example.com", "https://a.example.com.evil.test", False),
        ("https://*.example.com", "https://evilexample.com", False),
        ("https://*.example.com", "https://evil.test/.example.com", False),
        ("https://*.example.com", "https://evil.test?.example.com", False),
        ("https://*.example.com", "https://evil.test#.example.com", False),
        ("https://*.example.com", "https://evil.test\\.example.com", False),
        ("https://*.example.com", "https://evil.test:443.example.com", False),
        ("https://*.example.com", "https://evil@a.example.com", False),
        ("https://*.example.com", "http://a.example.com", False),
        ("https://*.example.com", "https://a.example.com:8443", False),
        ("https://*.example.com:8443", "https://a.example.com:8443", True),
        ("https://*.example.com:8443", "https://a.example.com", False),
        ("https://*.bücher.example", "https://a.xn--bcher-kva.example", True),
        # null and * are named, and mean only what they say.
        ("null", "null", True),
        ("null", "https://app.example.com", False),
        ("null", "", False),
        ("*", "https://anything.test:1234", True),
        ("*", "http://[::1]", True),
        ("*", "null", False),
        ("SameHost", "null", False),
    ],
)
def test_compares_origins(pattern: str, origin: str, expected: bool) -> None:
    assert allowed(pattern, origin) is expected


@pytest.mark.parametrize(
    ("origin", "host", "scheme", "expected"),
    [
        # The scheme is known: default ports are filled in, and a page over http is not let in over https.
        ("https://app.example.com", "app.example.com", "https", True),
        ("https://app.example.com", "app.example.com:443", "https", True),
        ("https://app.example.com:443", "App.Example.com.", "https", True),
        ("https://app.example.com:8443", "app.example.com:8443", "https", True),
        ("https://app.example.com", "app.example.com:8443", "https", False),
        ("https://app.example.com:8443", "app.example.com", "https", False),
        ("http://app.example.com", "app.example.com", "https", False),
        ("http://app.example.com:443", "app.example.com", "https", False),
        ("http://app.example.com:8443", "app.example.com:8443", "https", False),
        ("http://app.example.com", "app.example.com", "http", True),
        ("http://app.example.com:80", "app.example.com", "http", True),
        ("http://app.example.com:8080", "app.example.com:8080", "http", True),
        ("http://app.example.com", "app.example.com:8080", "http", False),
        ("https://app.example.com", "app.example.com", "http", False),
        ("https://app.example.com:8080", "app.example.com:8080", "http", True),
        # The scheme is not known: a TLS-terminating proxy may be in front, so 80 and 443 are one port.
        ("https://app.example.com", "app.example.com", None, True),
        ("http://app.example.com", "app.example.com", None, True),
        ("https://app.example.com", "app.example.com:80", None, True),
        ("http://app.example.com", "app.example.com:443", None, True),
        ("https://app.example.com:80", "app.example.com", None, True),
        ("http://localhost:8080", "localhost:8080", None, True),
        ("https://app.example.com:8443", "app.example.com:8443", None, True),
        ("https://app.example.com:8443", "app.example.com", None, False),
        ("https://app.example.com", "app.example.com:8443", None, False),
        ("http://localhost:8081", "localhost:8080", None, False),
        # The host must be the very same.
        ("https://evil.test", "app.example.com", None, False),
        ("https://evil.test", "app.example.com", "https", False),
        ("https://sub.app.example.com", "app.example.com", "https", False),
        ("https://example.com", "app.example.com", "https", False),
        ("https://app.example.com.evil.test", "app.example.com", "https", False),
        ("http://127.0.0.1:8080", "localhost:8080", None, False),
        ("http://[::1]:8080", "[0:0::1]:8080", None, True),
        ("http://[::1]:8080", "127.0.0.1:8080", None, False),
        ("https://xn--bcher-kva.example", "bücher.example", "https", True),
        # Only pages of the web are the same host as a server of the web.
        ("wss://app.example.com", "app.example.com", "https", False),
        ("ftp://app.example.com:443", "app.example.com", "https", False),
        ("capacitor://localhost:8080", "localhost:8080", None, False),
        ("chrome-extension://app.example.com", "app.example.com", None, False),
    ],
)
def test_same_host(origin: str, host: str, scheme: str | None, expected: bool) -> None:
    assert SAME_HOST.matches(Origin.parse(origin.encode()), asked_for(host, scheme)) is expected


def test_any_pattern_of_a_list_is_enough_and_an_empty_list_allows_nothing() -> None:
    patterns = (SAME_HOST, OriginPattern.parse("https://*.example.com"), OriginPattern.parse("null"))
    effective = asked_for("localhost:8080")
    for origin in (b"http://localhost:8080", b"https://a.example.com", b"null"):
        assert allows(patterns, Origin.parse(origin), effective)
        assert not allows((), Origin.parse(origin), effective)
    assert not allows(patterns, Origin.parse(b"https://evil.test"), effective)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("SameHost", "SameHost"),
        ("null", "null"),
        ("*", "*"),
        ("HTTPS://App.Example.com.:443", "https://app.example.com"),
        ("http://app.example.com:443", "http://app.example.com:443"),
        ("https://*.Bücher.example:8443", "https://*.xn--bcher-kva.example:8443"),
        ("http://[::0:1]", "http://[::1]"),
        ("capacitor://localhost", "capacitor://localhost"),
    ],
)
def test_a_pattern_has_one_spelling(text: str, canonical: str) -> None:
    assert str(OriginPattern.parse(text)) == canonical
    assert OriginPattern.parse(canonical) == OriginPattern.parse(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "has no scheme"),
        ("app.example.com", "has no scheme: an origin is written like https://"),
        ("samehost", "is spelt SameHost"),
        ("Null", "is spelt null"),
        ("https://app.example.com/", "leave the path out"),
        ("https://*.example.com/ws", "leave the path out"),
        ("https://*", "a wildcard is the whole first label"),
        ("https://*:*", "a wildcard is the whole first label"),
        ("https://app*.example.com", "a wildcard is the whole first label"),
        ("https://*example.com", "a wildcard is the whole first label"),
        ("https://*.*.example.com", "a wildcard is the whole first label"),
        ("*://app.example.com", "does not begin with a scheme"),
        ("wss://app.example.com", "its scheme is http or https"),
        ("ws://*.example.com", "its scheme is http or https"),
        ("https://*.10.0.0.1", "has no subdomains"),
        ("https://*.[::1]", "has no subdomains"),
        ("https://*.", "is not an origin"),
        ("https://app.example.com:", "the port is empty"),
        ("https://app.example.com:0", "is not between 1 and 65535"),
        ("https://user@app.example.com", "is not an origin"),
        ("https://app.example.com, https://b.example.com", "leave the path out|is not an origin"),
        ("https://", "is not an origin"),
    ],
)
def test_a_bad_pattern_is_explained(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        OriginPattern.parse(text)


def request(*fields: tuple[bytes, bytes]) -> RequestHead:
    return RequestHead("GET", "/ws", (1, 1), Headers(((b"Host", b"a"), *fields)))


AMBIENT = [
    request((b"Cookie", b"session=T")),
    request((b"cOOKIE", b"theme=dark")),
    request((b"Cookie", b"")),
    request((b"Authorization", b"Basic dTpw")),
    request((b"authorization", b"basic dTpw")),
    request((b"Authorization", b"Digest username=u")),
    request((b"Authorization", b"Negotiate YII=")),
    request((b"Authorization", b"NTLM TlRM")),
    request((b"Authorization", b"NTLM")),
    request((b"Authorization", b"Basic\tdTpw")),
    request((b"Authorization", b"Bearer t"), (b"Authorization", b"Basic dTpw")),
]
EXPLICIT = [
    request(),
    request((b"Authorization", b"Bearer t")),
    request((b"Authorization", b"")),
    request((b"Authorization", b"Basically t")),
    request((b"X-Cookie", b"a=b"), (b"Set-Cookie", b"a=b")),
    request((b"Sec-WebSocket-Protocol", b"bearer.t")),
]


@pytest.mark.parametrize("head", AMBIENT)
def test_without_an_origin_what_browsers_send_by_themselves_is_refused(head: RequestHead) -> None:
    assert is_missing_denied(MissingOrigin.DENY_WITH_COOKIE, head, None)
    assert is_missing_denied(MissingOrigin.DENY, head, None)
    assert not is_missing_denied(MissingOrigin.ALLOW, head, None)


@pytest.mark.parametrize("head", EXPLICIT)
def test_without_an_origin_what_a_program_sends_is_not(head: RequestHead) -> None:
    assert not is_missing_denied(MissingOrigin.DENY_WITH_COOKIE, head, None)
    assert is_missing_denied(MissingOrigin.DENY_WITH_COOKIE, head, ClientCertificate("CN=ann"))
    assert not is_missing_denied(MissingOrigin.ALLOW, head, ClientCertificate("CN=ann"))
    assert is_missing_denied(MissingOrigin.DENY, head, None)
    assert not is_missing_denied(MissingOrigin.ALLOW, head, None)
