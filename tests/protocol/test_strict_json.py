from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsguard.protocol.strict_json import MAX_DEPTH, parse_object


def nested(depth: int, leaf: str = "") -> bytes:
    """An object with arrays in it, `depth` of them altogether."""
    return ('{"a":' + "[" * (depth - 1) + leaf + "]" * (depth - 1) + "}").encode()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), VALUES, max_size=5), st.booleans())
def test_reads_what_was_written(value: dict[str, Any], ascii_only: bool) -> None:
    assert parse_object(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'"a"', "not a JSON object"),
        (b'{"a":1,"a":1}', "a name occurs twice"),
        (b'{"b":{"a":1,"\\u0061":1}}', "a name occurs twice"),
        (b'{"a":NaN}', "NaN and Infinity"),
        (b'{"a":-Infinity}', "NaN and Infinity"),
        (b'{"a":1e999}', "out of range"),
        (b'{"a":' + b"9" * 5000 + b"}", "out of range"),
        (b'{"a":"\\ud800"}', "a lone surrogate"),
        (b'{"a":["\\udfff"]}', "a lone surrogate"),
        (b'{"\\ud800":1}', "a lone surrogate"),
        (b'{"a":"\n"}', "not JSON"),
        (b'{"a":"\xff"}', "not UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        ('{"a":1}'.encode("utf-16"), "not UTF-8"),
        (nested(MAX_DEPTH + 1), "nested too deeply"),
        (nested(100_000), "nested too deeply"),
        (b"[" * 100_000, "nested too deeply"),
    ],
    ids=lambda value: repr(value[:24]),
)
def test_refuses_what_readers_disagree_on(document: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_object(document)


def test_takes_nesting_up_to_the_bound() -> None:
    assert parse_object(nested(MAX_DEPTH, "1"))
    with pytest.raises(ValueError, match="surrogate"):
        parse_object(nested(MAX_DEPTH, '"\\ud800"'))


def test_many_brackets_are_not_deep() -> None:
    assert parse_object(b'{"a":[' + b",".join([b"[]"] * 100) + b'],"b":"[[[[{{{{"}')


@given(st.binary())
def test_any_bytes_are_an_object_or_a_value_error(document: bytes) -> None:
    with suppress(ValueError):
        assert isinstance(parse_object(document), dict)
