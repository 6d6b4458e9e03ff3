"""What a guard can say in the languages that are spoken over WebSocket: go and reconnect, and goodbye.

The law of the table: nothing in it makes a client library give up. A library that has no word for "reconnect" reads the
close code, 1012; a goodbye of a protocol's own is said only where the library comes back from it
(tests/scenarios/test_migration.py runs each of them). The frames are whole and uncompressed, text or binary as the
protocol has them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum

from wsguard.protocol.frames import Opcode, data_frame, message_frame

EVENT = "wsguard:reconnect"
"""What the hint is called where messages have names."""

HEED = '{"type":"reconnect"}'
"""The hint of the guard's own client, and of whoever has no protocol."""


class Dialect(Enum):
    """The protocol that a policy's clients speak, or a text of its own."""

    CUSTOM = "custom"
    SOCKET_IO = "socket.io"
    SIGNALR = "signalr"
    GRAPHQL_WS = "graphql-ws"
    MQTT5 = "mqtt5"
    PHOENIX = "phoenix"


@dataclass(frozen=True, slots=True)
class Phrases:
    """The frames of a dialect; an empty one is not sent.

    `subprotocols` are those that the backend may have chosen for them to be understood, "" for none.
    """

    subprotocols: frozenset[str]
    hint: bytes = b""
    goodbye: bytes = b""


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


_RECORD_END = "\x1e"  # SignalR's hub protocol in JSON: what ends a message
_SIGNALR_HINT = {"type": 1, "target": EVENT, "arguments": []}  # an Invocation that wants no answer
_SIGNALR_GOODBYE = {"type": 7, "allowReconnect": True}
_PING = {"type": "ping", "payload": json.loads(HEED)}
_MQTT_DISCONNECT = bytes((0xE0, 2, 0x8B, 0))  # MQTT 5 §3.14: Server shutting down, no properties

PHRASES: dict[Dialect, Phrases] = {
    # Engine.IO's `message`, Socket.IO's `event`. No goodbye: after `disconnect` (41) the library stays away for good.
    Dialect.SOCKET_IO: Phrases(frozenset({""}), message_frame("42" + _json([EVENT]))),
    Dialect.SIGNALR: Phrases(
        frozenset({""}),
        message_frame(_json(_SIGNALR_HINT) + _RECORD_END),
        message_frame(_json(_SIGNALR_GOODBYE) + _RECORD_END),
    ),
    # A `complete` for each subscription would end it; after 1012 the library subscribes again.
    Dialect.GRAPHQL_WS: Phrases(frozenset({"graphql-transport-ws"}), message_frame(_json(_PING))),
    # There is no message of MQTT's that asks a client to reconnect while it may go on.
    Dialect.MQTT5: Phrases(frozenset({"mqtt"}), goodbye=data_frame(Opcode.BINARY, _MQTT_DISCONNECT)),
    # On the topic of heartbeats. No goodbye: `phx_close` ends a channel for good.
    Dialect.PHOENIX: Phrases(frozenset({"", "phoenix"}), message_frame(_json([None, None, "phoenix", EVENT, {}]))),
}
"""Every dialect but `custom`, whose hint the policy writes."""
