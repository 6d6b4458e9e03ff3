"""The Forwarded field (RFC 7239): what proxies say of where a request came from.

Law: strict, and the whole field or nothing. A client may have begun it, with a quote that never ends in the hope of
swallowing what the next proxy adds: then nobody can tell whose word is whose, and nothing of it is to be believed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

MAX_ELEMENTS = 64
"""More proxies than stand in a row anywhere."""

_PAIR = re.compile(
    rb"""([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)|"((?:[\t !#-\[\]-~]|\\[\t -~])*)")"""
)
_ESCAPED = re.compile(rb"\\(.)")
_GAP = re.compile(rb"[\t ]*")


class BadForwarded(ValueError):
    """The field is not what RFC 7239 §4 writes: a sentence, which quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Hop:
    """What one proxy says of the request that it was sent; "" where it says nothing. `node` is its `for` (§6)."""

    node: str = ""
    host: str = ""
    proto: str = ""


def read_forwarded(values: Sequence[bytes]) -> tuple[Hop, ...]:
    """The hops in all fields of a request, the nearest proxy's last. Raises BadForwarded."""
    hops = [hop for value in values for hop in _read_field(value)]
    if len(hops) > MAX_ELEMENTS:
        raise BadForwarded(f"a Forwarded of more than {MAX_ELEMENTS} elements")
    return tuple(hops)


def element(node: str, host: str, proto: str) -> bytes:
    """One hop as the field writes it; `node` is an address or `unknown` (§6). None of them has a quote in it."""
    node = f"[{node}]" if ":" in node else node
    return f'for="{node}";host="{host}";proto={proto}'.encode("ascii")


def _read_field(value: bytes) -> list[Hop]:
    """`[ pair ] *( ";" [ pair ] )` between commas (§4), of which RFC 9110 §5.6.1 allows empty ones."""
    hops: list[Hop] = []
    said: dict[str, str] = {}
    at, end = 0, len(value)
    while at < end:
        at = _skip(value, at)
        if at < end and value[at] not in b",;":
            found = _PAIR.match(value, at)
            if found is None:
                raise BadForwarded("an unreadable Forwarded")
            name, token, quoted = found.groups()
            key = name.decode("ascii").lower()
            if key in said:
                raise BadForwarded("a Forwarded with a parameter twice in one element")
            said[key] = (_ESCAPED.sub(rb"\1", quoted) if token is None else token).decode("ascii")
            at = _skip(value, found.end())
        if at < end and value[at] not in b",;":
            raise BadForwarded("an unreadable Forwarded")
        if at >= end or value[at : at + 1] == b",":
            if said:
                hops.append(Hop(said.get("for", ""), said.get("host", ""), said.get("proto", "")))
            said = {}
        at += 1
    if said:  # the field ended in a semicolon
        hops.append(Hop(said.get("for", ""), said.get("host", ""), said.get("proto", "")))
    return hops


def _skip(value: bytes, at: int) -> int:
    found = _GAP.match(value, at)
    return at if found is None else found.end()
