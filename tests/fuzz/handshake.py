"""A request's head, read by aiohttp's parser and then by the guard, beside h11.

Whatever is taken for a handshake, a strict reader that shares no code with either must read in the same way: else there
would be two opinions of who asks for what.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import h11
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser

from wsguard.policy.effective import effective_request
from wsguard.protocol.handshake import HttpRefusal, is_attempt, read_handshake, request_problem
from wsguard.protocol.http import Headers, RequestHead
from wsguard.protocol.target import is_reserved
from wsguard.protocol.upgrade import upgrade_request

_CORPUS = Path(__file__).parents[1] / "corpus/handshakes"
_LOOP = asyncio.new_event_loop()
_PEER = ip_address("192.0.2.7")


def _request(parts: list[object]) -> bytes:
    pieces = (part["repeat"] * part["times"] if isinstance(part, dict) else str(part) for part in parts)
    return "".join(pieces).encode("latin-1")


SEEDS = [
    request
    for file in sorted(_CORPUS.glob("*.json"))
    for case in json.loads(file.read_text("utf-8"))
    if len(request := _request(case["request"])) < 4096
]


def check(data: bytes) -> None:
    """No fault of the guard's, and of what it takes for a handshake no second opinion."""
    for number, head in enumerate(_heads(data)):
        if request_problem(head) is not None:
            continue
        try:
            effective_request(head, _PEER, False, None)
        except ValueError:
            continue
        is_reserved(head.target)
        if not is_attempt(head):
            continue
        handshake = read_handshake(head)
        if isinstance(handshake, HttpRefusal):
            assert handshake.status in (400, 405, 426), handshake
            continue
        assert "//" not in handshake.path, handshake.path
        assert not {".", ".."} & set(handshake.path.split("/")), handshake.path
        assert handshake.path.startswith("/"), handshake.path
        fields = {(name.lower(), value) for name, value in head.headers.raw}
        if not number:  # h11 reads no further than the first; that it refuses more is no second opinion
            with suppress(h11.RemoteProtocolError):
                method, target, theirs = _read_by_h11(data)
                assert (method, target, set(theirs)) == (b"GET", head.target.encode("latin-1"), fields)
        method, target, forwarded = _read_by_h11(upgrade_request(head))
        assert (method, target) == (b"GET", head.target.encode("latin-1"))
        assert {field for field in forwarded if field[0] not in (b"connection", b"upgrade")} <= fields
        assert dict(forwarded)[b"upgrade"] == b"websocket"


def _heads(data: bytes) -> list[RequestHead]:
    """What the door is given of `data`, with the door's settings."""
    parser = HttpRequestParser(
        BaseProtocol(_LOOP),
        _LOOP,
        2**16,
        max_line_size=8190,
        max_field_size=8190,
        auto_decompress=False,
    )
    try:
        messages, _, _ = parser.feed_data(data)
    except HttpProcessingError:
        return []
    found = []
    for message, _ in messages:
        version = (message.version.major, message.version.minor)
        found.append(RequestHead(message.method, message.path, version, Headers(tuple(message.raw_headers))))
    return found


def _read_by_h11(request: bytes) -> tuple[bytes, bytes, list[tuple[bytes, bytes]]]:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=2**20)
    connection.receive_data(request)
    event = connection.next_event()
    assert isinstance(event, h11.Request), event
    return event.method, event.target, [(bytes(name), bytes(value)) for name, value in event.headers]
