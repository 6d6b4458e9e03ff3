from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsguard.policy.members import MAX_TEXT, MAX_TIME, BadMember, audiences, quoted, text, time


def test_what_is_missing_is_none() -> None:
    assert text({}, "sub") is None
    assert time({}, "exp") is None
    assert audiences({}) == []


@pytest.mark.parametrize("value", ["a", "Zoë", "a b", "x" * MAX_TEXT])
def test_text_is_printable(value: str) -> None:
    assert text({"sub": value}, "sub") == value


@pytest.mark.parametrize("value", [None, "", 7, [], {}, True, "a\n", "\u202e", "\ud800", "x" * (MAX_TEXT + 1)])
def test_anything_else_is_no_text(value: Any) -> None:
    with pytest.raises(BadMember, match=r"^sub "):
        text({"sub": value}, "sub")


@pytest.mark.parametrize("value", [0, 1_800_000_000, 1.5, MAX_TIME - 1])
def test_time_is_a_number_that_is_a_date(value: float) -> None:
    assert time({"exp": value}, "exp") == float(value)


@pytest.mark.parametrize("value", [None, "1", True, -1, MAX_TIME, 1e300, float("nan"), 10**400])
def test_anything_else_is_no_time(value: Any) -> None:
    with pytest.raises(BadMember, match=r"^exp "):
        time({"exp": value}, "exp")


def test_an_audience_is_one_or_several() -> None:
    assert audiences({"aud": "a"}) == ["a"]
    assert audiences({"aud": ["a", "b"]}) == ["a", "b"]
    wrong: list[Any] = [7, None, {}, ["a", 7]]
    for value in wrong:
        with pytest.raises(BadMember):
            audiences({"aud": value})


@pytest.mark.parametrize("value", ["", "alice", "it's", "a \"b\" 'c'", "x" * 100])
def test_what_is_short_is_quoted_whole(value: str) -> None:
    assert quoted(value) == repr(value)


@given(st.text(max_size=3000), st.integers(4, 120))
def test_a_quotation_is_bounded_and_printable(value: str, most: int) -> None:
    """Also of characters that are ten when they are escaped."""
    told = quoted(value, most)
    assert len(told) <= most + 3
    assert told.isprintable()
    assert told == repr(value) or told[-2] == "…"
