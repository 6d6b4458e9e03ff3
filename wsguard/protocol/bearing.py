"""Which protocols over WebSocket bear it when the backend behind a connection is replaced by another one.

The law of the list: a protocol is in it where a new backend that hears a part of what the client has said, and no
more, serves the client as the old one did. Nothing else is ever held: state that lives in a connection ends with it.
"""

from __future__ import annotations

from enum import Enum

from wsguard.protocol.frames import message_frame

HINT = '{"type":"ping","payload":{"type":"backend-replaced"}}'
"""What a client that speaks graphql-transport-ws is told: a Ping of that protocol, which its library answers itself."""


class HeldProtocol(Enum):
    """The list."""

    CUSTOM = "custom"  # the application's own, of which the policy says what is to be repeated
    GRAPHQL_WS = "graphql-ws"


SUBPROTOCOLS: dict[HeldProtocol, str] = {HeldProtocol.GRAPHQL_WS: "graphql-transport-ws"}
"""What the backend must have chosen. `custom` speaks what `limits.subprotocols` lists, or none."""

HINTS: dict[HeldProtocol, bytes] = {HeldProtocol.GRAPHQL_WS: message_frame(HINT)}
"""The hint of a protocol that has words for it; that of `custom` is the policy's."""

STATEFUL = {
    "mqtt": "the broker keeps a session for each connection",
    "socket.io": "the session's id is given by the server, and known to that one alone",
    "engine.io": "the session's id is given by the server, and known to that one alone",
    "signalr": "the connection's id is given by the server, and known to that one alone",
    "phoenix": "channels that were joined live in the server's process",
    "action-cable": "the server greets, confirms and counts for each connection",
    "stomp": "transactions and acknowledgements are numbered for each connection",
    "wamp": "the session's id is given by the router, and known to that one alone",
    "amqp": "channels and deliveries are numbered for each connection",
    "xmpp": "the stream is negotiated for each connection",
    "graphql-ws-legacy": "acknowledgement and keep-alives are counted for each connection",
    "centrifuge": "the client is known by an id of the server's, and replies are matched by number",
    "pusher": "the socket's id is given by the server, and known to that one alone",
    "nats": "subscriptions are numbered for each connection, and what was missed is not known",
    "ocpp": "calls and their results are matched for each connection",
    "sip": "dialogues are bound to their transport",
}
"""Known protocols that are not in the list, and why."""

_STATEFUL_SUBPROTOCOLS = {
    "mqtt": "mqtt",
    "mqttv3.1": "mqtt",
    "stomp": "stomp",
    "v10.stomp": "stomp",
    "v11.stomp": "stomp",
    "v12.stomp": "stomp",
    "wamp.2.json": "wamp",
    "wamp.2.msgpack": "wamp",
    "wamp.2.cbor": "wamp",
    "amqp": "amqp",
    "xmpp": "xmpp",
    "graphql-ws": "graphql-ws-legacy",
    "actioncable-v1-json": "action-cable",
    "phoenix": "phoenix",
    "centrifuge-json": "centrifuge",
    "centrifuge-protobuf": "centrifuge",
    "ocpp1.6": "ocpp",
    "ocpp2.0.1": "ocpp",
    "sip": "sip",
}


def state_of(subprotocol: str) -> str | None:
    """Why a known subprotocol cannot be held; None where it is none of those."""
    name = _STATEFUL_SUBPROTOCOLS.get(subprotocol.lower())
    return None if name is None else STATEFUL[name]
