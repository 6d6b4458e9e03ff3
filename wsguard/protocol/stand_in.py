"""A request to one of the guard's own paths, read as if it were the handshake that it speaks for.

`POST /.wsguard/…?path=/ws` is judged as the handshake to `/ws` would be that its page opens. Header fields, cookies
among them, are its own. What a page can give a handshake and no other request, it writes into the body, a JSON object:
`protocols` as for `new WebSocket(url, protocols)`, and `query` as in that URL.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from urllib.parse import unquote

from wsguard.protocol.handshake import TOKEN, Handshake, HttpRefusal
from wsguard.protocol.http import RequestHead
from wsguard.protocol.strict_json import parse_object
from wsguard.protocol.target import BadTarget, is_reserved, read_path

_QUERY = re.compile(r"path=((?:[^%&=#+]|%[0-9A-Fa-f]{2})+)")
_MEMBERS = frozenset(("protocols", "query"))


def stand_in(head: RequestHead, body: bytes) -> Handshake | HttpRefusal:
    """The handshake that the request with `head` and `body` speaks for.

    Its method is GET, so that whoever is asked about the one is asked the same about the other. It has no key and no
    extensions. A query other than `path=`, percent-encoded, is refused, and so is a path that no handshake may have.
    """
    query = _QUERY.fullmatch(head.query or "")
    if query is None:
        return _bad("the query is not ?path= and one path, percent-encoded")
    if len(head.headers.all(b"origin")) > 1:
        return _bad("more than one Origin")
    try:
        target = _target(unquote(query[1], errors="strict"))
        path = read_path(target)
        more, protocols = _read_body(body)
        if more:
            target = f"{target}?{more}"
            read_path(target)
    except ValueError as error:  # UnicodeDecodeError is one
        return _bad("the path is not ASCII" if isinstance(error, UnicodeDecodeError) else str(error))
    return Handshake(
        head=RequestHead("GET", target, (1, 1), head.headers),
        path=path,
        key=b"",
        origin=head.headers.first(b"origin"),
        subprotocols=protocols,
        extensions=None,
    )


def _target(text: str) -> str:
    if "?" in text:
        raise BadTarget("the path has a query: that belongs into the body")
    if is_reserved(text):
        raise BadTarget("the path is one of the guard's own")
    return text


def _read_body(body: bytes) -> tuple[str, tuple[str, ...]]:
    """The query, and the subprotocols. Raises ValueError with a sentence that quotes nothing."""
    if not body:
        return "", ()
    members = parse_object(body)
    if not members.keys() <= _MEMBERS:
        raise ValueError("the body has other members than protocols and query")
    query, protocols = members.get("query", ""), members.get("protocols", [])
    if not isinstance(query, str):
        raise ValueError("query is not a string")
    if not isinstance(protocols, list) or not all(isinstance(item, str) for item in protocols):
        raise ValueError("protocols is not a list of strings")
    if not all(item.isascii() and TOKEN.fullmatch(item.encode("ascii")) for item in protocols):
        raise ValueError("protocols has an item that no subprotocol can be")
    if len(set(protocols)) != len(protocols):
        raise ValueError("a subprotocol is offered twice")  # RFC 6455 §4.1 (10)
    return query, tuple(protocols)


def _bad(why: str) -> HttpRefusal:
    return HttpRefusal(HTTPStatus.BAD_REQUEST, why)
