"""The list of extensions that a client offers, and what may be left of it (RFC 6455 §9.1, RFC 7692).

Who rewrites an offer must be sure that the client can keep what the backend answers: so an extension is only ever left
out, and of permessage-deflate only a window is made smaller that the client has said it can make smaller.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PARAM = re.compile(rb"(%s)(?:[ \t]*=[ \t]*(?:(%s)|\"(%s)\"))?" % (_TOKEN, _TOKEN, _TOKEN))
_DEFLATE = b"permessage-deflate"
_CLIENT, _SERVER = b"client_max_window_bits", b"server_max_window_bits"
_BITS = re.compile(rb"[89]|1[0-5]")  # RFC 7692 §7.1.2: without leading zeros
_WIDEST = 15


@dataclass(frozen=True, slots=True)
class Extension:
    """One of a list: its name in lower case, and its parameters; None: one without a value."""

    name: bytes
    parameters: tuple[tuple[bytes, bytes | None], ...] = ()

    def value(self, name: bytes) -> bytes | None:
        """The value of a parameter; empty where it has none, None where there is no such parameter."""
        return next((value or b"" for key, value in self.parameters if key == name), None)

    def having(self, name: bytes, value: bytes) -> Extension:
        """The same with `name=value`, in the place of any other value."""
        if self.value(name) is None:
            return Extension(self.name, (*self.parameters, (name, value)))
        return Extension(self.name, tuple((key, value if key == name else was) for key, was in self.parameters))

    def __bytes__(self) -> bytes:
        words = (key if value is None else key + b"=" + value for key, value in self.parameters)
        return b"; ".join((self.name, *words))


@dataclass(frozen=True, slots=True)
class Terms:
    """What may be negotiated: only the extensions `names` (None: any), with a window of at most 2 ** `bits` bytes."""

    names: frozenset[bytes] | None = None
    no_deflate: bool = False
    bits: int | None = None


def read_extensions(field: bytes) -> tuple[Extension, ...]:
    """The list in a Sec-WebSocket-Extensions field, several of them joined by commas. Raises ValueError."""
    return tuple(_read(item) for item in field.split(b",") if item.strip(b" \t"))


def _read(item: bytes) -> Extension:
    name, *rest = (part.strip(b" \t") for part in item.split(b";"))
    if not re.fullmatch(_TOKEN, name):
        raise ValueError("an extension without a name")
    parameters = []
    for part in rest:
        found = _PARAM.fullmatch(part)
        if found is None:
            raise ValueError("a parameter of an extension that cannot be read")
        parameters.append((found[1].lower(), found[2] if found[2] is not None else found[3]))
    return Extension(name.lower(), tuple(parameters))


@lru_cache(maxsize=256)  # there are as many offers as there are kinds of browsers
def restricted(offer: bytes | None, terms: Terms) -> bytes | None:
    """What is left of an offer; None: nothing. An offer that cannot be read is none."""
    if offer is None:
        return None
    try:
        items = read_extensions(offer)
    except ValueError:
        return None
    kept: list[Extension] = []
    for item in items:
        if terms.names is not None and item.name not in terms.names:
            continue
        if item.name != _DEFLATE:
            kept.append(item)
        elif not terms.no_deflate and (terms.bits is None or not any(one.name == _DEFLATE for one in kept)):
            narrow = item if terms.bits is None else _narrowed(item, terms.bits)
            if narrow is not None:
                kept.append(narrow)
    return b", ".join(map(bytes, kept)) or None


def _narrowed(offer: Extension, bits: int) -> Extension | None:
    """The offer with both windows bounded; None where the client does not let its own be bounded, or is unreadable."""
    client, server = offer.value(_CLIENT), offer.value(_SERVER)
    if client is None or len({key for key, _ in offer.parameters}) < len(offer.parameters):
        return None
    if (client and not _BITS.fullmatch(client)) or (server is not None and not _BITS.fullmatch(server)):
        return None
    mine = str(min(int(client or _WIDEST), bits)).encode()
    theirs = str(min(int(server or _WIDEST), bits)).encode()
    return offer.having(_CLIENT, mine).having(_SERVER, theirs)


def agreed(answer: bytes, offer: bytes) -> bytes:
    """The extensions of a 101 as the client is to read them, where the backend was offered the bounded `offer`.

    A backend need not repeat the bound that the client is to keep to (RFC 7692 §7.1.2.2), but relies on it: so the
    client is told. Raises ValueError where the backend does not keep to its own.
    """
    offered = {item.name: item for item in reversed(read_extensions(offer))}
    return b", ".join(bytes(_bounded(item, offered.get(item.name))) for item in read_extensions(answer))


def _bounded(item: Extension, offer: Extension | None) -> Extension:
    if item.name != _DEFLATE or offer is None:
        return item
    if len({key for key, _ in item.parameters}) < len(item.parameters):
        raise ValueError("a parameter of permessage-deflate twice")
    told = item if item.value(_CLIENT) is not None else item.having(_CLIENT, offer.value(_CLIENT) or b"")
    for name in (_CLIENT, _SERVER):
        value, most = told.value(name) or b"", offer.value(name) or b""
        if not _BITS.fullmatch(value) or int(value) > int(most):
            raise ValueError("a window of permessage-deflate larger than was offered")
    return told
