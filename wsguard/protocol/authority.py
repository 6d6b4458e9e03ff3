"""The host and port of a Host field, an Origin or a policy, in one spelling (RFC 3986 §3.2, RFC 9110 §7.2).

Law: two spellings of one authority compare equal, and what two readers could understand differently is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

import idna

DEFAULT_PORTS = {"http": 80, "https": 443}
"""The ports that browsers leave out (RFC 9110 §4.2). ws and wss never stand in an Origin."""

# RFC 3986's reg-name also has percent-encoding and sub-delimiters. No name that resolves has them, and
# readers disagree about them, so they are refused; the underscore stays, as service names in Compose have it.
_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORT = re.compile(r"[0-9]{0,5}")
_LONGEST_NAME = 253  # RFC 1035 §2.3.4, in its text form without the final dot


@dataclass(frozen=True, slots=True)
class Authority:
    """A host and, where one was written, a port.

    `host` is in lower case, in A-labels (RFC 5890), without a final dot; an IPv6 address is in brackets and
    compressed (RFC 5952). `port` is None where none was written.
    """

    host: str
    port: int | None = None

    def __str__(self) -> str:
        return self.host if self.port is None else f"{self.host}:{self.port}"

    @property
    def is_ip(self) -> bool:
        """True for an IPv4 or IPv6 literal."""
        return self.host.startswith("[") or _ends_in_a_number(self.host)

    @property
    def is_localhost(self) -> bool:
        """True for `localhost` and the names under it, which nobody can register (RFC 6761 §6.3)."""
        return self.host == "localhost" or self.host.endswith(".localhost")


@lru_cache(maxsize=1024)  # a guard is asked for by few names, several times a handshake
def parse_authority(raw: str) -> Authority:
    """Read `host` or `host:port`. Raises ValueError for anything else: user information, lists, nothing."""
    if "@" in raw:
        raise ValueError("it has user information (@)")  # which may be a password: it is not quoted
    host, colon, port = raw.rpartition(":")
    if not colon or raw.endswith("]"):  # no port; the colons, if any, are those of an IPv6 address
        return Authority(parse_host(raw))
    if not _PORT.fullmatch(port):
        raise ValueError(f"{port!r} is not a port")
    if not port:  # RFC 3986 §3.2.3: an empty port is the default port
        return Authority(parse_host(host))
    if not 0 < int(port) < 65536:
        raise ValueError(f"port {port} is not between 1 and 65535")
    return Authority(parse_host(host), int(port))


def parse_host(raw: str) -> str:
    """Read a host without a port into the spelling of `Authority.host`. Raises ValueError."""
    if raw.startswith("[") and raw.endswith("]"):
        return _ipv6(raw)
    name = _to_ascii(raw).lower().removesuffix(".")
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise ValueError(f"{raw[:_LONGEST_NAME]!r} is not a host name")
    if _ends_in_a_number(name):
        return _ipv4(name)
    return name


def _ipv6(raw: str) -> str:
    address = raw[1:-1]
    if "%" in address:  # a zone has a meaning on one machine only (RFC 4007 §11.2)
        raise ValueError(f"{raw!r} has a zone, which only its own machine can read")
    try:
        return f"[{IPv6Address(address).compressed}]"
    except ValueError:
        raise ValueError(f"{raw[:_LONGEST_NAME]!r} is not an IPv6 address") from None


def _ipv4(name: str) -> str:
    # Browsers read 127.1, 0x7f000001 and 017700000001 as 127.0.0.1 and send that; other readers disagree.
    try:
        return str(IPv4Address(name))
    except ValueError:
        raise ValueError(f"{name!r} is no host name, and no IPv4 address of four decimal numbers") from None


def _ends_in_a_number(name: str) -> bool:
    """The WHATWG URL Standard's test for what may only be an IPv4 address."""
    return _NUMBER.fullmatch(name.rpartition(".")[2]) is not None


def _to_ascii(raw: str) -> str:
    """U-labels to A-labels as browsers do it (UTS #46, non-transitional). ASCII passes as it is."""
    if raw.isascii():
        return raw
    if len(raw) > _LONGEST_NAME:
        raise ValueError("the host name is too long")
    try:
        return idna.encode(raw, uts46=True, std3_rules=False).decode("ascii")
    except UnicodeError as error:
        raise ValueError(f"{raw!r} is not an internationalised host name: {error}") from None
