from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsguard.protocol.authority import Authority, parse_authority, parse_host


@pytest.mark.parametrize(
    ("raw", "host", "port"),
    [
        ("app.example.com", "app.example.com", None),
        ("App.EXAMPLE.com", "app.example.com", None),
        ("app.example.com:8443", "app.example.com", 8443),
        ("app.example.com:0443", "app.example.com", 443),
        ("app.example.com:", "app.example.com", None),  # RFC 3986 §3.2.3
        ("app.example.com.", "app.example.com", None),
        ("app.example.com.:80", "app.example.com", 80),
        ("localhost:65535", "localhost", 65535),
        ("my_app-1", "my_app-1", None),
        ("bücher.example", "xn--bcher-kva.example", None),
        ("BÜCHER.example.:80", "xn--bcher-kva.example", 80),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", None),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example", None),
        ("faß.example", "xn--fa-hia.example", None),  # not fass: UTS #46, non-transitional
        ("xn--i-7iq.ws", "xn--i-7iq.ws", None),  # an emoji, which IDNA 2008 forbids and browsers send
        ("例え。テスト", "xn--r8jz45g.xn--zckzah", None),  # the ideographic full stop is a dot
        ("127.0.0.1", "127.0.0.1", None),
        ("127.0.0.1.", "127.0.0.1", None),
        ("[::1]:8080", "[::1]", 8080),
        ("[2001:DB8:0:0::1]", "[2001:db8::1]", None),
        ("[2001:0db8:0000:0000:0000:0000:0000:0001]:", "[2001:db8::1]", None),
        ("a" * 63 + ".example", "a" * 63 + ".example", None),
    ],
)
def test_reads_one_spelling(raw: str, host: str, port: int | None) -> None:
    assert parse_authority(raw) == Authority(host, port)


@pytest.mark.parametrize(
    "raw",
    [
        "",
        ".",
        "..",
        ":80",
        "a..b",
        ".a",
        "a.b..",
        "user@host",
        "user:password@host",
        "host@",
        "a/b",
        "a\\b",
        "a,b",
        "a b",
        " a",
        "a ",
        "a\t",
        "a\r\nb",
        "a\n",
        "a\0",
        "a?b",
        "a#b",
        "a;b",
        "a%2eb",
        "%61pp.example.com",
        "a'b",
        "a*b",
        "*.example.com",
        "http://a",
        "a:80:80",
        "a:http",
        "a:-1",
        "a:+80",
        "a: 80",
        "a:80 ",
        "a:0",
        "a:65536",
        "a:000080",
        "a:\uff18\uff10",  # fullwidth digits, which int() would read
        "[]",
        "[",
        "]",
        "[::1",
        "::1",
        "::1]:80",
        "[::1]80",
        "[::1]a:80",
        "[[::1]]",
        "[127.0.0.1]",
        "[fe80::1%25eth0]",
        "[fe80::1%eth0]",
        "[v1.a]",
        "[::g]",
        "127.1",
        "127.0.0.1.5",
        "0x7f.0.0.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "127.0.0.01",
        "256.0.0.1",
        "a.0x",
        "example.123",
        "bücher..example",
        "bü cher.example",
        "bü/cher.example",
        "bücher℀.example",  # maps to a/c
        "\udcff.example",
        "a" * 64 + ".example",
        ".".join(["a" * 49] * 6),
        "ü" * 300,
    ],
)
def test_refuses_what_readers_could_take_differently(raw: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_authority(raw)


@pytest.mark.parametrize("raw", ["user:s3cr3t@host", "s3cr3t@host", "user:s3cr3t@host:80", "host:s3cr3t@"])
def test_does_not_repeat_user_information(raw: str) -> None:
    with pytest.raises(ValueError, match="user information") as raised:
        parse_authority(raw)
    assert "s3cr3t" not in str(raised.value)


@pytest.mark.parametrize(
    ("raw", "is_ip", "is_localhost"),
    [
        ("127.0.0.1", True, False),
        ("8.8.8.8:80", True, False),
        ("[::1]", True, False),
        ("localhost", False, True),
        ("LOCALHOST.:80", False, True),
        ("app.localhost", False, True),
        ("notlocalhost", False, False),
        ("localhost.example.com", False, False),
        ("127.0.0.1.example.com", False, False),
        ("app.example.com", False, False),
    ],
)
def test_knows_what_cannot_be_rebound(raw: str, is_ip: bool, is_localhost: bool) -> None:
    authority = parse_authority(raw)
    assert (authority.is_ip, authority.is_localhost) == (is_ip, is_localhost)


@given(st.text() | st.text(alphabet="aA0.:[]-_xf%@/*ü。\uff11 ", max_size=12))
def test_what_it_reads_it_reads_again(raw: str) -> None:
    try:
        authority = parse_authority(raw)
    except ValueError:
        return
    assert str(authority).isascii()
    assert str(authority) == str(authority).lower()
    assert parse_authority(str(authority)) == authority
    assert parse_host(authority.host) == authority.host


@given(st.ip_addresses(v=6))
def test_an_ipv6_address_has_one_spelling(address: object) -> None:
    exploded = getattr(address, "exploded", "")
    assert parse_authority(f"[{exploded.upper()}]") == parse_authority(f"[{address}]")
