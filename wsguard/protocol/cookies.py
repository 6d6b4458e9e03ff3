"""Cookies by name, as every backend would read them (RFC 6265 §4.2, and what came before and beside it).

Law: no jar hides from the guard a cookie that some backend would read. Readers disagree on what ends a cookie
(RFC 6265: a semicolon; RFC 2109: a comma too, but neither inside quotes; Python's http.cookies: white space)
and on whether names are decoded, compared by case, or made variables (to PHP `na.me` is `na_me`). So a name
counts wherever any of them would begin one; where that finds two different values, the caller refuses.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from functools import lru_cache
from itertools import islice
from urllib.parse import unquote_to_bytes

from wsguard.protocol.http import Headers

# 0x85 and 0xA0 are white space to readers that take header bytes as ISO 8859-1 (WSGI).
_SPACE = rb"\s\x85\xa0"
_AS_VARIABLE = bytes.maketrans(b". [", b"___")  # PHP; `name[key]` is its way to write an array
_PAIR = re.compile(rb"(?:^|(?<=[;,%(s)b]))([^;,=%(s)b]+)[%(s)b]*=" % {b"s": _SPACE})


def values(headers: Headers, name: str) -> list[str]:
    """Every value of the cookie `name`, in order, less one pair of quotes around it; equal ones are repeated.

    A value reaches to the next semicolon. Names are compared percent-decoded, without regard to case,
    and as PHP makes variables of them.
    """
    wanted = _fold(name.encode())
    return [
        plain(segment[pair.end() :].strip())
        for field in headers.all(b"cookie")
        for segment in field.split(b";")
        for pair in islice(_named(segment, (wanted,)), 2)  # a third differs as well: it costs time and tells nothing
    ]


def plain(value: bytes) -> str:
    """A cookie's value as `values` gives it: without one pair of quotes around it."""
    return _unquoted(value).decode("latin-1")


def erase(headers: Headers, names: Iterable[str]) -> Headers:
    """The same fields less the cookies `names`: the rest byte for byte, an emptied Cookie field dropped."""
    gone = frozenset(_fold(name.encode()) for name in names)
    kept = []
    for key, value in headers.raw:
        left = _without(value, gone) if key.lower() == b"cookie" else value
        if left is not None:
            kept.append((key, left))
    return Headers(tuple(kept))


def _without(field: bytes, gone: frozenset[bytes]) -> bytes | None:
    """`field` less the cookies `gone`; None where nothing is left of it."""
    segments = field.split(b";")
    kept = []
    for segment in segments:
        start = next((pair.start(1) for pair in _named(segment, gone)), None)
        if start is None:
            kept.append(segment)
        elif segment[:start].strip(b" \t,"):  # an honest cookie before it, to readers who part by comma or space
            kept.append(segment[:start].rstrip(b" \t,"))
    if kept == segments:
        return field
    jar = b";".join(kept).lstrip(b" \t")
    return jar if jar.strip(b" \t;") else None


def _named(segment: bytes, names: Container[bytes]) -> Iterator[re.Match[bytes]]:
    """Where one of `names` and its equals sign stand in what is between two semicolons.

    Behind the last equals sign there is no name, but mostly a long token.
    """
    pairs = _PAIR.finditer(segment, 0, segment.rfind(b"=") + 1)
    return (pair for pair in pairs if _fold(pair[1]) in names)


@lru_cache(maxsize=1024)  # the same few names on every request
def _fold(name: bytes) -> bytes:
    known = unquote_to_bytes(name).partition(b"\0")[0]
    known = known.partition(b"[")[0] if b"]" in known else known
    return known.lower().translate(_AS_VARIABLE)


def _unquoted(value: bytes) -> bytes:
    return value[1:-1] if len(value) > 1 and value[:1] == value[-1:] == b'"' else value
