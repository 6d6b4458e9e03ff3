"""Frames of the guard's own, as other code reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import wire
from wsguard.protocol.frames import MAX_CONTROL_PAYLOAD, Opcode, apply_mask, close_payload, control_frame

KEY = b"\x37\xfa\x21\x3d"


def test_the_examples_of_rfc_6455() -> None:
    """§5.7."""
    assert control_frame(Opcode.PING, b"Hello") == bytes.fromhex("890548656c6c6f")
    assert control_frame(Opcode.PONG, b"Hello", KEY) == bytes.fromhex("8a8537fa213d7f9f4d5158")


@given(
    st.sampled_from([Opcode.CLOSE, Opcode.PING, Opcode.PONG]),
    st.binary(max_size=125),
    st.none() | st.binary(min_size=4, max_size=4),
)
def test_a_control_frame_is_read_as_it_was_meant(opcode: Opcode, payload: bytes, mask: bytes | None) -> None:
    buffer = bytearray(control_frame(opcode, payload, mask))
    assert wire.take_frame(buffer) == wire.Frame(True, 0, opcode, mask, payload)
    assert not buffer


def test_a_control_frame_has_a_bound() -> None:
    """RFC 6455 §5.5."""
    control_frame(Opcode.PING, bytes(MAX_CONTROL_PAYLOAD))
    with pytest.raises(ValueError, match="125 bytes, not 126"):
        control_frame(Opcode.PING, bytes(MAX_CONTROL_PAYLOAD + 1))


@given(st.binary(max_size=70), st.binary(min_size=4, max_size=4))
def test_masking_twice_is_nothing(data: bytes, key: bytes) -> None:
    masked = apply_mask(data, key)
    assert masked == bytes(byte ^ key[at % 4] for at, byte in enumerate(data))
    assert apply_mask(masked, key) == data


@given(st.integers(1000, 4999), st.text(max_size=200))
def test_a_reason_is_cut_between_characters(code: int, reason: str) -> None:
    payload = close_payload(code, reason)
    assert len(payload) <= MAX_CONTROL_PAYLOAD
    assert int.from_bytes(payload[:2], "big") == code
    text = payload[2:].decode()
    assert reason.startswith(text)
    left = reason[len(text) : len(text) + 1].encode()
    assert not left or len(payload) + len(left) > MAX_CONTROL_PAYLOAD, "more would have fitted"
