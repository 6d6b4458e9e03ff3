"""What a backend answers to a handshake, beside h11: a 101 that is believed, both read alike."""

from __future__ import annotations

import h11

from tests.support.wire import KEY
from wsguard.protocol.frame_rules import reserved_bits
from wsguard.protocol.handshake import accept_key
from wsguard.protocol.upgrade import MAX_HEAD, Answer, AnswerReader, BadAnswer, check_switch

_KEY = KEY.encode()
_OFFERED = ("chat", "graphql-transport-ws")
_EXTENSIONS = b"permessage-deflate; client_max_window_bits"
_GOOD = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
    + accept_key(_KEY)
    + b"\r\n"
)

SEEDS = [
    _GOOD + b"\r\n\x81\x02hi",
    b"HTTP/1.1 100 Continue\r\n\r\n" + _GOOD + b"Sec-WebSocket-Protocol: chat\r\n\r\n",
    _GOOD + b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\r\n",
    b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 20,
]


def check(data: bytes) -> None:
    """Whole and by the byte the same answer; one that is believed has no second reading."""
    whole, torn = _read(data, len(data) or 1), _read(data, 1)
    if isinstance(whole, Answer):
        assert data.endswith(whole.tail), "what is behind the head is not touched"
        assert isinstance(torn, Answer), torn
        assert (torn.status, torn.headers, torn.tail) == (whole.status, whole.headers, b"")
    if not isinstance(whole, Answer):
        return
    try:
        check_switch(whole, _KEY, _OFFERED, _EXTENSIONS)
    except BadAnswer:
        return
    if whole.status != 101:
        return
    for value in whole.headers.all(b"sec-websocket-extensions"):
        reserved_bits(value)
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=2**20)
    headers = [("Host", "app"), ("Upgrade", "websocket"), ("Connection", "upgrade")]
    connection.send(h11.Request(method="GET", target="/", headers=headers))
    connection.receive_data(data)
    event = connection.next_event()
    while isinstance(event, h11.InformationalResponse) and event.status_code != 101:
        event = connection.next_event()
    assert isinstance(event, h11.InformationalResponse), event
    assert [(bytes(n), bytes(v)) for n, v in event.headers] == [(n.lower(), v) for n, v in whole.headers.raw]


def _read(data: bytes, size: int) -> Answer | BadAnswer | None:
    reader = AnswerReader()
    for at in range(0, len(data), size):
        try:
            answer = reader.feed(data[at : at + size])
        except BadAnswer as error:
            return _sentence(error)
        if answer is not None:
            return answer
        assert at < 20 * MAX_HEAD
    return None


def _sentence(error: BadAnswer) -> BadAnswer:
    assert len(str(error)) < 100, "it quotes nothing"
    return error
