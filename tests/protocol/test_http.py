"""Header fields as they came: looked up without case, kept with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsguard.protocol.http import Headers, RequestHead

FIELDS = Headers(
    (
        (b"Host", b"localhost"),
        (b"X-List", b"a, b"),
        (b"x-LIST", b"C,,\td "),
        (b"Empty", b""),
    )
)


def test_fields_are_looked_up_without_case_and_kept_in_order() -> None:
    assert FIELDS.all(b"x-list") == [b"a, b", b"C,,\td "]
    assert FIELDS.first(b"x-list") == b"a, b"
    assert (FIELDS.all(b"nothing"), FIELDS.first(b"nothing")) == ([], None)
    assert FIELDS.first(b"empty") == b"", "a field that is empty is there"
    assert list(FIELDS.names) == [b"host", b"x-list", b"empty"]


def test_lists_are_split_over_all_fields() -> None:
    """RFC 9110 §5.6.1: empty items are none."""
    assert FIELDS.items(b"x-list") == [b"a", b"b", b"C", b"d"]
    assert FIELDS.tokens(b"x-list") == [b"a", b"b", b"c", b"d"]
    assert FIELDS.items(b"empty") == FIELDS.items(b"nothing") == []


def test_fields_can_be_left_out() -> None:
    rest = FIELDS.without((b"x-list", b"nothing"))
    assert rest.raw == ((b"Host", b"localhost"), (b"Empty", b""))
    assert FIELDS.all(b"x-list"), "the original is as it was"
    assert rest == Headers(rest.raw)
    assert hash(rest) == hash(Headers(rest.raw))
    assert rest != FIELDS


@given(st.lists(st.tuples(st.sampled_from([b"A", b"a", b"B", b"c-D"]), st.binary(max_size=5)), max_size=8))
def test_looking_up_is_what_a_plain_search_finds(raw: list[tuple[bytes, bytes]]) -> None:
    headers = Headers(tuple(raw))
    for name in (b"a", b"b", b"c-d", b"e"):
        plain = [value for key, value in raw if key.lower() == name]
        assert headers.all(name) == plain
        assert headers.first(name) == (plain[0] if plain else None)
        assert headers.without([name]).raw == tuple(field for field in raw if field[0].lower() != name)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/a/b", "/a/b", None),
        ("/a?", "/a", ""),
        ("/a?b=c&d", "/a", "b=c&d"),
        ("/a??b?c", "/a", "?b?c"),
        ("/%3F?x", "/%3F", "x"),
    ],
)
def test_a_target_has_a_path_and_perhaps_a_query(target: str, path: str, query: str | None) -> None:
    head = RequestHead("GET", target, (1, 1), Headers())
    assert (head.raw_path, head.query) == (path, query)
