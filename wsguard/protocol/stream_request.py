"""A request that is judged though it is no WebSocket handshake: read as if it were one, as strictly.

Server-Sent Events are known by the media type, in the request by what it accepts, in the answer by what it is (WHATWG
HTML §9.2). A long poll is known by nothing: the policy says so.
"""

from __future__ import annotations

from http import HTTPStatus

from wsguard.protocol.handshake import Handshake, HttpRefusal
from wsguard.protocol.http import Headers, RequestHead
from wsguard.protocol.target import BadTarget, read_path

EVENT_STREAM = b"text/event-stream"


def read_request(head: RequestHead) -> Handshake | HttpRefusal:
    """The handshake that `head` stands for: no key, no subprotocols, no extensions."""
    if len(head.headers.all(b"origin")) > 1:
        return HttpRefusal(HTTPStatus.BAD_REQUEST, "more than one Origin")
    try:
        path = read_path(head.target)
    except BadTarget as error:
        return HttpRefusal(HTTPStatus.BAD_REQUEST, str(error))
    return Handshake(head, path, b"", head.headers.first(b"origin"), (), None)


def asks_for_events(head: RequestHead) -> bool:
    """Whether a request names the media type in Accept, as every EventSource does."""
    return _names_events(head.headers, b"accept")


def is_event_stream(headers: Headers) -> bool:
    """Whether any browser would take an answer with `headers` for an event stream."""
    return _names_events(headers, b"content-type")


def has_body(method: str, status: int) -> bool:
    """Whether an answer to `method` may have a body at all (RFC 9110 §6.4.1)."""
    return method != "HEAD" and status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


def is_preflight(head: RequestHead) -> bool:
    """A browser's question whether it may send a request (Fetch §4.8): no credentials, no body."""
    fields = head.headers
    return (
        head.method == "OPTIONS"
        and fields.first(b"origin") is not None
        and fields.first(b"access-control-request-method") is not None
        and not fields.all(b"transfer-encoding")
        and all(value.strip() == b"0" for value in fields.all(b"content-length"))
    )


def _names_events(headers: Headers, field: bytes) -> bool:
    return any(item.partition(b";")[0].strip() == EVENT_STREAM for item in headers.tokens(field))
