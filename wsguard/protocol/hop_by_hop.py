"""Header fields that belong to one connection and never travel on (RFC 9110 §7.6.1)."""

from __future__ import annotations

from collections.abc import Iterable

from wsguard.protocol.http import Headers

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
# A client's `Connection: cookie` must not be able to take away what the guard has judged or will add.
KEPT = frozenset((b"authorization", b"cookie", b"host", b"origin", b"content-length", b"content-type"))


def end_to_end(headers: Headers, besides: Iterable[bytes] = ()) -> Headers:
    """The fields that may be forwarded: less the hop-by-hop ones, those that Connection names, and those in `besides`.

    Names in `besides` are in lower case.
    """
    named = frozenset(headers.tokens(b"connection")) - KEPT
    return headers.without(HOP_BY_HOP.union(named, besides))
