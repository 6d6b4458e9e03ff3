from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsguard.ops.redact import digest, is_digest, printable, timestamp, without_query


def test_a_digest_tells_two_sids_apart_and_gives_neither_away() -> None:
    assert digest("session-1") == digest("session-1") != digest("session-2")
    assert digest("session-1").startswith("sha256:")
    assert len(digest("session-1")) == len("sha256:") + 16
    assert is_digest(digest("\udcff"))
    assert not is_digest("session-1")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/chat/Zoë", "/chat/Zoë"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\r\nb\x00\x7f\x85", "a\\r\\nb\\x00\\x7f\\x85"),
        ("\u202eevil", "\\u202eevil"),
        ("\udcff", "\\udcff"),
        ("\u2028", "\\u2028"),
    ],
)
def test_what_does_not_print_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters()))
def test_nothing_that_controls_a_terminal_is_left(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    shown.encode("utf-8")


def test_an_origin_is_shown_without_the_query_it_should_not_have() -> None:
    assert without_query("https://app.test/?token=secret") == "https://app.test/"
    assert without_query("https://app.test") == "https://app.test"


def test_times_are_rfc_3339() -> None:
    assert timestamp(0.0) == "1970-01-01T00:00:00.000Z"
    assert timestamp(1_700_000_000.25) == "2023-11-14T22:13:20.250Z"
