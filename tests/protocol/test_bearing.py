"""The explicit list of what can be held, and what cannot."""

from __future__ import annotations

from tests.support import wire
from wsguard.protocol.bearing import HINTS, STATEFUL, SUBPROTOCOLS, HeldProtocol, state_of


def test_every_protocol_but_the_applications_own_proves_what_is_spoken_and_has_words() -> None:
    named = set(HeldProtocol) - {HeldProtocol.CUSTOM}
    assert set(SUBPROTOCOLS) == set(HINTS) == named
    for protocol in named:
        frame = wire.take_frame(bytearray(HINTS[protocol]))
        assert frame is not None
        assert (frame.opcode, frame.mask, frame.fin) == (wire.TEXT, None, True)


def test_none_is_in_both_lists() -> None:
    assert not {protocol.value for protocol in HeldProtocol} & set(STATEFUL)
    assert all(state_of(name) is None for name in (*SUBPROTOCOLS.values(), "", "chat"))
    assert state_of("MQTT") == STATEFUL["mqtt"]
