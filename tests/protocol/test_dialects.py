"""What is said in each dialect, as its protocol writes it down."""

from __future__ import annotations

import json

import pytest

from tests.support import wire
from wsguard.protocol.dialects import EVENT, HEED, PHRASES, Dialect
from wsguard.protocol.scanner import FrameScanner, Sender


def _frame(payload: str) -> bytes:
    return wire.frame(wire.TEXT, payload.encode(), masked=False)


HINTS = {
    Dialect.SOCKET_IO: '42["wsguard:reconnect"]',
    Dialect.SIGNALR: '{"type":1,"target":"wsguard:reconnect","arguments":[]}\x1e',
    Dialect.GRAPHQL_WS: '{"type":"ping","payload":{"type":"reconnect"}}',
    Dialect.PHOENIX: '[null,null,"phoenix","wsguard:reconnect",{}]',
}


@pytest.mark.parametrize("dialect", PHRASES)
def test_the_hint(dialect: Dialect) -> None:
    assert PHRASES[dialect].hint == (_frame(HINTS[dialect]) if dialect in HINTS else b"")


def test_the_goodbyes() -> None:
    goodbyes = {dialect: phrases.goodbye for dialect, phrases in PHRASES.items() if phrases.goodbye}
    assert goodbyes == {
        Dialect.SIGNALR: _frame('{"type":7,"allowReconnect":true}\x1e'),
        Dialect.MQTT5: wire.frame(wire.BINARY, b"\xe0\x02\x8b\x00", masked=False),
    }


@pytest.mark.parametrize("frame", [frame for phrases in PHRASES.values() for frame in (phrases.hint, phrases.goodbye)])
def test_every_phrase_is_whole_messages(frame: bytes) -> None:
    scanner = FrameScanner(Sender.BACKEND)
    assert scanner.feed(frame) == frame
    assert scanner.is_at_rest


def test_every_dialect_has_phrases_but_the_policys_own() -> None:
    assert set(PHRASES) == set(Dialect) - {Dialect.CUSTOM}
    assert json.loads(HEED) == {"type": "reconnect"}
    assert EVENT == "wsguard:reconnect"
