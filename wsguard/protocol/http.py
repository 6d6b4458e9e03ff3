"""An HTTP/1.1 request head as it came, byte for byte (RFC 9110, RFC 9112)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

RawHeaders = tuple[tuple[bytes, bytes], ...]

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""What a link, an image or a prefetch can send (RFC 9110 §9.2.1)."""


@lru_cache(maxsize=1024)  # the same few names on every request
def folded(name: bytes) -> bytes:
    """A field's name as the loosest backend reads it: to CGI and WSGI X_Token is X-Token, so `_` counts as `-`."""
    return name.lower().replace(b"_", b"-")


class Headers:
    """Header fields in the order and spelling in which they were sent; not to be changed.

    Names are looked up in lower case, as bytes; values keep every byte the peer sent, less the optional white space
    around them.
    """

    __slots__ = ("_by_name", "raw")

    def __init__(self, raw: RawHeaders = ()) -> None:
        self.raw = raw
        self._by_name: dict[bytes, list[bytes]] | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"Headers({self.raw!r})"

    def _index(self) -> dict[bytes, list[bytes]]:
        """The values by name, made at the first look-up: a handshake is asked two dozen times for one or another."""
        index = self._by_name
        if index is None:
            index = self._by_name = {}
            for name, value in self.raw:
                index.setdefault(name.lower(), []).append(value)
        return index

    def all(self, name: bytes) -> list[bytes]:
        """Every value of `name` (given in lower case), in order."""
        return (self._by_name or self._index()).get(name, [])

    def first(self, name: bytes) -> bytes | None:
        """The first value of `name` (given in lower case), or None."""
        values = self._index().get(name)
        return values[0] if values else None

    @property
    def names(self) -> Iterable[bytes]:
        """Every name that occurs, in lower case, once."""
        return self._index().keys()

    def items(self, name: bytes) -> list[bytes]:
        """The comma-separated items in all fields of `name` (RFC 9110 §5.6.1), empty ones dropped."""
        return [item for value in self.all(name) for part in value.split(b",") if (item := part.strip(b" \t"))]

    def tokens(self, name: bytes) -> list[bytes]:
        """The same in lower case, for lists that are compared without case."""
        return [item.lower() for item in self.items(name)]

    def without(self, names: Iterable[bytes]) -> Headers:
        """The same fields less those named (in lower case)."""
        gone = frozenset(names)
        return Headers(tuple([field for field in self.raw if field[0].lower() not in gone]))


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The request line and header fields of one request.

    `target` is the request target as sent (RFC 9112 §3.2), never re-encoded: what is judged is what is forwarded.
    """

    method: str
    target: str
    version: tuple[int, int]
    headers: Headers

    @property
    def raw_path(self) -> str:
        """The target before any `?`, still percent-encoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str | None:
        """The target after the first `?`, still encoded; None where there is no `?` at all."""
        _, mark, query = self.target.partition("?")
        return query if mark else None
