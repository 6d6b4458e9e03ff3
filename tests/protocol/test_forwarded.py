"""The Forwarded field: RFC 7239's own examples, what is written is read again, and whatever a client puts before it."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsguard.protocol.forwarded import MAX_ELEMENTS, BadForwarded, Hop, element, read_forwarded

NODES = st.one_of(st.ip_addresses().map(str), st.just("unknown"))
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)


@pytest.mark.parametrize(
    ("value", "hops"),
    [
        (b'for="_gazonk"', [Hop("_gazonk")]),
        (b'For="[2001:db8:cafe::17]:4711"', [Hop("[2001:db8:cafe::17]:4711")]),
        (b"for=192.0.2.60;proto=http;by=203.0.113.43", [Hop("192.0.2.60", proto="http")]),
        (b"for=192.0.2.43, for=198.51.100.17", [Hop("192.0.2.43"), Hop("198.51.100.17")]),
        (b'for=_hidden, for=_SEVKISEK;HOST="a:80"', [Hop("_hidden"), Hop("_SEVKISEK", host="a:80")]),
        (b"proto=https", [Hop(proto="https")]),
        (b"for=a;;host=b;", [Hop("a", host="b")]),
        (b",, for=a ,\t,", [Hop("a")]),
        (rb'for="a\"b\\c"', [Hop('a"b\\c')]),
        (b"for=a;secret=1", [Hop("a")]),
        (b'for="a;b, c=d"', [Hop("a;b, c=d")]),
        (b"", []),
    ],
)
def test_what_is_read(value: bytes, hops: list[Hop]) -> None:
    assert read_forwarded([value]) == tuple(hops)


def test_several_fields_are_one_list() -> None:
    """RFC 9110 §5.3."""
    assert read_forwarded([b"for=a, for=b", b"for=c"]) == (Hop("a"), Hop("b"), Hop("c"))


@pytest.mark.parametrize(
    "value",
    [b"for", b"for=", b"for =a", b"for= a", b"=a", b'for="a', b'for="a"b', b"for=a b", b"for=[::1]", b"for=a:1",
     b"for=a;for=b", b"for=a;FOR=b", b"for=\xff", b'for="\xff"', b'for="\x00"', b'for="a\\', b"a", b"for=a;b"],
)  # fmt: skip
def test_what_is_not_read(value: bytes) -> None:
    with pytest.raises(BadForwarded):
        read_forwarded([value])


def test_there_are_not_so_many_proxies() -> None:
    with pytest.raises(BadForwarded, match=str(MAX_ELEMENTS)):
        read_forwarded([b",".join([b"for=a"] * (MAX_ELEMENTS + 1))])


@given(NODES, st.sampled_from(("app.example.com", "[::1]:8080")), st.sampled_from(("http", "https")))
def test_what_is_written_is_read_again(node: str, host: str, proto: str) -> None:
    (hop,) = read_forwarded([element(node, host, proto)])
    assert (hop.node.strip("[]"), hop.host, hop.proto) == (node, host, proto)


@given(st.lists(st.tuples(st.sampled_from(("for", "host", "proto")), TEXT), unique_by=lambda pair: pair[0], min_size=1))
def test_quoting_carries_any_text(pairs: list[tuple[str, str]]) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    value = ";".join(f"{name}={quoted(text)}" for name, text in pairs).encode()
    said = dict(pairs)
    assert read_forwarded([value]) == (Hop(said.get("for", ""), said.get("host", ""), said.get("proto", "")),)


@given(st.binary(max_size=60), NODES)
def test_whatever_stands_before_it_the_last_word_is_the_proxys(theirs: bytes, node: str) -> None:
    """A client cannot swallow what the proxy adds to its field: that is read as it was written, or nothing is."""
    ours = element(node, "app.example.com", "http")
    with suppress(BadForwarded):
        assert read_forwarded([theirs + b", " + ours])[-1] == read_forwarded([ours])[0]


@given(st.sampled_from((b'for="', b'a=b;x="', b'x="\\', b'for=6.6.6.6;proto="', b'x="y;z=')), NODES)
def test_an_open_quote_spoils_the_whole_field(theirs: bytes, node: str) -> None:
    with pytest.raises(BadForwarded):
        read_forwarded([theirs + b", " + element(node, "app.example.com", "http")])


@given(st.text(alphabet='for=";, \\\t[]:a0', max_size=40).map(str.encode))
def test_no_text_takes_it_by_surprise(value: bytes) -> None:
    with suppress(BadForwarded):
        assert all(isinstance(hop, Hop) for hop in read_forwarded([value]))
