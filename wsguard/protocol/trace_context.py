"""What a request says of the trace that it is part of (W3C Trace Context §3.2)."""

from __future__ import annotations

import re

from wsguard.protocol.http import Headers

_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")
_NOTHING = (b"0" * 32, b"0" * 16)
_LONGEST_ID = 128


def trace_id(headers: Headers) -> str | None:
    """The trace id of `traceparent`, 32 hexadecimal digits; None where there is none, or none that is valid."""
    values = headers.all(b"traceparent")
    found = _TRACEPARENT.fullmatch(values[0].strip(b" \t")) if len(values) == 1 else None
    if found is None or found["trace"] == _NOTHING[0] or found["parent"] == _NOTHING[1]:
        return None
    return found["trace"].decode("ascii")


def request_id(headers: Headers) -> str | None:
    """`X-Request-ID` as the proxy in front gave it; None where it is missing, comes twice, or is no plain word."""
    values = headers.all(b"x-request-id")
    if len(values) != 1 or not 0 < len(values[0]) <= _LONGEST_ID:
        return None
    text = values[0].decode("latin-1")
    return text if text.isascii() and text.isprintable() else None
