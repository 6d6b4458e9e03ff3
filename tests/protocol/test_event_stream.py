"""Where events end: fed whole, byte by byte and in any pieces, as a plain reader of the standard has it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsguard.protocol.event_stream import EventScanner, last_words

TEXT = st.lists(
    st.sampled_from([b"data", b"data:", b"data: x", b"database", b": ping", b"id: 7", b"", b"x" * 9]).flatmap(
        lambda line: st.sampled_from([line + end for end in (b"\n", b"\r", b"\r\n")])
    )
).map(b"".join)


def by_the_book(text: bytes) -> tuple[int, bool]:
    """How many events with data are whole, and whether none is under way, by reading line by line."""
    *lines, rest = re.split(rb"\r\n|\n|\r", text)
    events, block = 0, []
    for line in lines:
        if line:
            block.append(line)
            continue
        events += any(each == b"data" or each.startswith(b"data:") for each in block)
        block = []
    return events, not block and not rest


@given(TEXT, st.integers(1, 7))
def test_any_pieces_tell_what_the_whole_tells(text: bytes, size: int) -> None:
    scanner = EventScanner()
    for at in range(0, len(text), size):
        assert scanner.feed(text[at : at + size]) == len(text[at : at + size])
    assert (scanner.messages, scanner.is_at_rest) == by_the_book(text)


@given(TEXT, st.integers(0, 60))
def test_to_the_end_of_the_event_and_no_further(text: bytes, at: int) -> None:
    scanner = EventScanner()
    scanner.feed(text[:at])
    read = scanner.feed(text[at:], to_end=True)
    whole = text[: at + read]
    assert scanner.is_at_rest or read == len(text[at:])
    assert by_the_book(whole) == (scanner.messages, scanner.is_at_rest)


@pytest.mark.parametrize(
    ("text", "is_amid_data"),
    [
        (b": ping", False),
        (b": ping\n\n", False),
        (b"id: 1\nda", False),
        (b"data: a", True),
        (b"data: a\nid: 1\n", True),
    ],
    ids=["comment", "whole-comment", "unknown-yet", "line", "event"],
)
def test_a_comment_is_no_data(text: bytes, is_amid_data: bool) -> None:
    scanner = EventScanner()
    scanner.feed(text)
    assert (scanner.is_amid_data, scanner.messages) == (is_amid_data, 0)


def test_last_words_are_a_comment_and_a_time() -> None:
    assert last_words("draining", 1.5) == b": draining\nretry: 1500\n\n"
    assert last_words("logged-out", None) == b": logged-out\n\n"
    scanner = EventScanner()
    scanner.feed(last_words("draining", 1.5))
    assert (scanner.is_at_rest, scanner.messages) == (True, 0)
