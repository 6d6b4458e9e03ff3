"""What belongs to one connection, and what a client may not declare to."""

from __future__ import annotations

import pytest

from wsguard.protocol.hop_by_hop import HOP_BY_HOP, KEPT, end_to_end
from wsguard.protocol.http import Headers


def left(*fields: tuple[bytes, bytes]) -> list[bytes]:
    """The names that travel on."""
    return [name for name, _ in end_to_end(Headers(fields)).raw]


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_a_hop_by_hop_field_stays_whatever_its_case(name: bytes) -> None:
    assert left((name.title(), b"x"), (b"X-Keep", b"x")) == [b"X-Keep"]


@pytest.mark.parametrize(
    "connection",
    [((b"Connection", b"close, X-Drop"),), ((b"Connection", b"close"), (b"connection", b"x-DROP ,"))],
)
def test_fields_that_connection_names_stay(connection: tuple[tuple[bytes, bytes], ...]) -> None:
    """RFC 9110 §7.6.1, over several fields and in any case."""
    assert left(*connection, (b"x-drop", b"1"), (b"X-Keep", b"1"), (b"X-Drop", b"2")) == [b"X-Keep"]


@pytest.mark.parametrize("name", sorted(KEPT))
def test_a_client_cannot_take_away_what_was_judged(name: bytes) -> None:
    assert left((b"Connection", name.upper()), (name, b"x")) == [name]


def test_the_rest_keeps_order_and_spelling() -> None:
    fields = ((b"B", b"1"), (b"a", b" 2"), (b"B", b"3"))
    assert end_to_end(Headers(fields)).raw == fields
