"""What is left of an offer, and what the client reads of the answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsguard.protocol.extensions import Terms, agreed, read_extensions, restricted

DENY = Terms(no_deflate=True)
CHROME = b"permessage-deflate; client_max_window_bits"
FIREFOX = b"permessage-deflate"
TEN = b"permessage-deflate; client_max_window_bits=10; server_max_window_bits=10"


@pytest.mark.parametrize(
    ("offer", "terms", "left"),
    [
        (None, DENY, None),
        (CHROME, DENY, None),
        (b"PERMESSAGE-deflate", DENY, None),
        (b"permessage-deflate , x-other; a=1", DENY, b"x-other; a=1"),
        (b'x-a; q="v", x-b', Terms(frozenset({b"x-a"})), b"x-a; q=v"),
        (CHROME, Terms(frozenset({b"permessage-deflate"})), CHROME),
        (CHROME, Terms(bits=10), TEN),
        (FIREFOX, Terms(bits=10), None),  # it does not let its window be bounded
        (b"permessage-deflate; client_max_window_bits=9; server_max_window_bits=8", Terms(bits=10),
         b"permessage-deflate; client_max_window_bits=9; server_max_window_bits=8"),
        (CHROME + b", " + CHROME, Terms(bits=10), TEN),
        (FIREFOX + b", " + CHROME, Terms(bits=10), TEN),
        (b"permessage-deflate; client_max_window_bits=99", Terms(bits=10), None),
        (b"permessage-deflate; client_max_window_bits; client_max_window_bits", Terms(bits=10), None),
        (b"permessage-deflate; =1", DENY, None),  # unreadable: another reader might see something in it
        (b'x; a="b, permessage-deflate; c="', DENY, None),
    ],
)  # fmt: skip
def test_what_is_left(offer: bytes | None, terms: Terms, left: bytes | None) -> None:
    assert restricted(offer, terms) == left


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (TEN, TEN),
        (b"permessage-deflate; server_max_window_bits=9",
         b"permessage-deflate; server_max_window_bits=9; client_max_window_bits=10"),
        (b"x-other", b"x-other"),
    ],
)  # fmt: skip
def test_the_client_is_told_of_its_bound(answer: bytes, told: bytes) -> None:
    assert agreed(answer, TEN) == told


@pytest.mark.parametrize(
    "answer",
    [
        b"permessage-deflate",
        b"permessage-deflate; server_max_window_bits=11",
        b"permessage-deflate; server_max_window_bits=010",
        b"permessage-deflate; server_max_window_bits=10; client_max_window_bits=15",
        b"permessage-deflate; server_max_window_bits=10; server_max_window_bits=15",
        b"permessage-deflate; ;",
    ],
)
def test_a_backend_that_does_not_keep_to_it(answer: bytes) -> None:
    with pytest.raises(ValueError, match=r"twice|larger|cannot be read"):
        agreed(answer, TEN)


@given(st.binary(max_size=60), st.sampled_from([DENY, Terms(bits=9), Terms(frozenset({b"x"}))]))
def test_any_bytes(offer: bytes, terms: Terms) -> None:
    """What is left can be read, stays what it is, and has nothing in it that was to go."""
    left = restricted(offer, terms)
    if left is None:
        return
    assert restricted(left, terms) == left
    names = {item.name for item in read_extensions(left)}
    assert not (terms.no_deflate and b"permessage-deflate" in names)
    assert terms.names is None or names <= set(terms.names)
