"""What replicas tell one another of their counts is read back as it was, or not at all."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsguard.sessions.census import Key
from wsguard.sessions.counts import MAX_COUNT, MAX_KEYS, MAX_MESSAGE, BadCounts, Counts, digest, parse, serialize

REPLICA = "0" * 31 + "a"
ANN: Key = ("chat", "perSubject", "https://idp.test ann")
DIGESTS = st.text("abcXYZ019-_", min_size=22, max_size=22)
COUNTS = st.dictionaries(DIGESTS, st.integers(0, MAX_COUNT), max_size=20)


@given(COUNTS, st.text("0123456789abcdef", min_size=32, max_size=32))
def test_what_is_told_is_what_is_read(counts: dict[str, int], replica: str) -> None:
    for told in (Counts(replica, counts), Counts(replica, {}, leaves=True)):
        assert parse(serialize(told)) == told


def test_the_longest_message_is_not_too_long() -> None:
    told = Counts(REPLICA, {digest(("chat", "perClientIP", str(i)), "topic"): MAX_COUNT for i in range(MAX_KEYS)})
    assert len(serialize(told)) < MAX_MESSAGE
    assert parse(serialize(told)) == told


def test_nobody_is_named() -> None:
    said = serialize(Counts(REPLICA, {digest(ANN, "wsguard:events"): 1}))
    assert b"ann" not in said
    assert b"idp" not in said
    assert len(digest(ANN, "wsguard:events")) == 22
    names = {digest(key, topic) for key in (ANN, ("chat", "perSession", ANN[2])) for topic in ("a", "b")}
    assert len(names) == 4
    digest(("chat", "perSubject", "\ud800\0"), "a")  # a token may have any text in it


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"7",
        b"[]",
        b"{}",
        b"[" * MAX_MESSAGE,
        b" " * (MAX_MESSAGE + 1),
        b'{"sid":"s1"}',
        {"replica": REPLICA},
        {"replica": REPLICA.upper(), "counts": {}},
        {"replica": REPLICA + "\n", "counts": {}},
        {"replica": 1, "counts": {}},
        {"replica": REPLICA, "counts": []},
        {"replica": REPLICA, "counts": None},
        {"replica": REPLICA, "counts": {}, "more": 1},
        {"replica": REPLICA, "counts": {}, "leaves": True},
        {"replica": REPLICA, "leaves": False},
        {"replica": REPLICA, "leaves": 1},
        {"replica": REPLICA, "counts": {"alice": 1}},
        {"replica": REPLICA, "counts": {"a" * 21 + "é": 1}},
        {"replica": REPLICA, "counts": {"a" * 22: -1}},
        {"replica": REPLICA, "counts": {"a" * 22: 1.0}},
        {"replica": REPLICA, "counts": {"a" * 22: True}},
        {"replica": REPLICA, "counts": {"a" * 22: "1"}},
        {"replica": REPLICA, "counts": {"a" * 22: MAX_COUNT + 1}},
        {"replica": REPLICA, "counts": {f"{i:022}": 1 for i in range(MAX_KEYS + 1)}},
        b'{"replica":"%s","counts":{"%s":1,"%s":2}}' % (REPLICA.encode(), b"a" * 22, b"a" * 22),
        b'{"replica":"%s","counts":{"%s":1%s}}' % (REPLICA.encode(), b"a" * 22, b"0" * 5_000),
    ],
    ids=range(27),
)
def test_what_is_not_wholly_understood_is_nothing(document: bytes | dict[str, object]) -> None:
    with pytest.raises(BadCounts):
        parse(document if isinstance(document, bytes) else json.dumps(document).encode())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | DIGESTS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["replica", "counts", "leaves"]) | DIGESTS, inner, max_size=4)
    ),
    max_leaves=10,
)


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_comes_is_counts_or_none(document: bytes) -> None:
    try:
        told = parse(document)
    except BadCounts:
        return
    assert parse(serialize(told)) == told
