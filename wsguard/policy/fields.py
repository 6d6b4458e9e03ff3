"""The scalars of policy files: durations, sizes, addresses, networks, hosts, names, paths of files."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import PlainValidator, Strict, ValidationInfo, WithJsonSchema

from wsguard.policy.hosts import ANY_HOST, HostPattern
from wsguard.policy.model_base import Reading, found, read_as, shorten, written
from wsguard.protocol.authority import parse_authority, parse_host

Network = IPv4Network | IPv6Network

# Durations: the Gateway API's format (GEP-2257), in seconds.

_DURATION = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def parse_duration(text: str) -> float:
    """`500ms`, `30s`, `1h30m` as seconds; raises ValueError for anything else."""
    if not re.fullmatch(_DURATION[1:-1], text):
        raise ValueError(f'expected a duration such as 500ms, 30s, 5m or 8h, found "{shorten(text)}"')
    return sum(int(count) * _SECONDS[unit] for count, unit in re.findall(r"([0-9]+)(ms|h|m|s)", text))


def _duration(value: object, info: ValidationInfo) -> float:
    if isinstance(value, str):
        return parse_duration(value)
    if info.context is None and isinstance(value, (int, float)):  # built in code: seconds
        return float(value)
    raise ValueError(f"expected a duration such as 500ms, 30s, 5m or 8h, found {found(value)}")


def _more_than_nothing(value: object, info: ValidationInfo) -> float:
    seconds = _duration(value, info)
    if seconds <= 0:
        raise ValueError("expected a duration longer than 0s")
    return seconds


_DURATION_SCHEMA = WithJsonSchema({"type": "string", "pattern": _DURATION, "examples": ["500ms", "30s", "5m", "8h"]})

Duration = Annotated[float, PlainValidator(_duration), _DURATION_SCHEMA]
PositiveDuration = Annotated[float, PlainValidator(_more_than_nothing), _DURATION_SCHEMA]


def duration(text: str) -> Any:
    """A field whose default is the duration `text`."""
    return written(parse_duration(text), text)


# Sizes: the binary units of Kubernetes' quantities, in bytes.

_SIZE = r"^[0-9]{1,6}(Ki|Mi)$"
_BYTES = {"Ki": 1 << 10, "Mi": 1 << 20}


def parse_size(text: str) -> int:
    """`8Ki`, `1Mi` as bytes; raises ValueError for anything else."""
    if not re.fullmatch(_SIZE[1:-1], text):
        raise ValueError(f'expected a size such as 8Ki or 1Mi, found "{shorten(text)}"')
    return int(text[:-2]) * _BYTES[text[-2:]]


def _size(value: object, info: ValidationInfo) -> int:
    if isinstance(value, str):
        return parse_size(value)
    if info.context is None and isinstance(value, int):  # built in code: bytes
        return value
    raise ValueError(f"expected a size such as 8Ki or 1Mi, found {found(value)}")


def _some_bytes(value: object, info: ValidationInfo) -> int:
    count = _size(value, info)
    if count <= 0:
        raise ValueError("expected a size of more than 0Ki")
    return count


_SIZE_SCHEMA = WithJsonSchema({"type": "string", "pattern": _SIZE, "examples": ["8Ki"]})

Size = Annotated[int, PlainValidator(_size), _SIZE_SCHEMA]
PositiveSize = Annotated[int, PlainValidator(_some_bytes), _SIZE_SCHEMA]


def size(text: str) -> Any:
    """A field whose default is the size `text`."""
    return written(parse_size(text), text)


# Addresses.


@dataclass(frozen=True, slots=True)
class HostPort:
    """Where to listen or dial. `host` is a lower-case name or an IP literal without brackets; port 0: any."""

    host: str
    port: int

    @classmethod
    @lru_cache(maxsize=64)  # a backend's is asked for at each handshake
    def parse(cls, text: str) -> HostPort:
        """`127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`; raises ValueError for anything else."""
        host, _, port = text.rpartition(":")
        try:
            if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
                raise ValueError
            return cls(parse_host(host).strip("[]"), int(port))
        except ValueError:
            expected = "HOST:PORT such as 127.0.0.1:8080 or [::1]:8080"
            raise ValueError(f'expected {expected}, found "{shorten(text)}"') from None

    @property
    def is_loopback(self) -> bool:
        """True where only this machine can reach the address."""
        return _is_loopback(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@lru_cache(maxsize=64)  # asked for at each handshake, by the Host check
def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _network(text: str) -> Network:
    sentence = f'expected a network such as 10.0.0.0/8 or fd00::/8, found "{shorten(text)}"'
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(sentence) from None
    if "%" in text:
        raise ValueError(sentence)
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        raise ValueError(f'expected an IPv4 network in its own form (10.0.0.0/8), found the mapped "{shorten(text)}"')
    if "/" in text and ip_address(text.partition("/")[0]) != network.network_address:
        raise ValueError(
            f'expected a network, found "{shorten(text)}", which has host bits set; did you mean {network}?'
        )
    return network


Cidr = Annotated[Network, *read_as(Network, _network, "a network such as 10.0.0.0/8")]
Address = Annotated[HostPort, *read_as(HostPort, HostPort.parse, "HOST:PORT such as 127.0.0.1:8080")]
Hostname = Annotated[HostPattern, *read_as(HostPattern, HostPattern.parse, "a host such as app.example.com")]


def _allowed_host(text: str) -> str:
    return text if text == ANY_HOST else str(HostPattern.parse(text))


AllowedHost = Annotated[str, *read_as(str, _allowed_host, "a host such as app.example.com, or *")]


def _http_uri(text: str) -> str:
    expected = "an http:// or https:// address"
    try:
        parts = urlsplit(text)
        if re.search(r"[\s\x00-\x20\x7f]", text) or parts.scheme not in ("http", "https"):
            raise ValueError
        if parts.username is not None or parts.fragment:
            raise ValueError
        parse_authority(parts.netloc)
    except ValueError:
        raise ValueError(f'expected {expected} without user or fragment, found "{shorten(text)}"') from None
    return text


Uri = Annotated[str, *read_as(str, _http_uri, "an http:// or https:// address", format="uri")]


# Names and paths.

_TCHARS = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"  # RFC 9110 §5.6.2


def token(expected: str) -> tuple[PlainValidator, WithJsonSchema]:
    """A name of RFC 9110's token characters, called `expected` in the sentence."""

    def read(text: str) -> str:
        if not re.fullmatch(_TCHARS[1:-1], text):
            raise ValueError(f'expected {expected}, found "{shorten(text)}"')
        return text

    return read_as(str, read, expected, pattern=_TCHARS)


_NAME = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"


def _name(text: str) -> str:
    if not re.fullmatch(_NAME[1:-1], text):
        raise ValueError(f'expected a name of lower-case letters, digits, "-" and ".", found "{shorten(text)}"')
    return text


Name = Annotated[str, *read_as(str, _name, "a name", pattern=_NAME)]


def _text(text: str) -> str:
    if not text or re.search(r"[\x00-\x1f\x7f]", text):
        raise ValueError(f'expected text without control characters, found "{shorten(text)}"')
    return text


Text = Annotated[str, *read_as(str, _text, "text", minLength=1)]


def plain_path(value: str) -> str:
    """`value`; raises ValueError where no request's decoded path can equal it."""
    if not value.startswith("/"):
        raise ValueError(f'expected a path that starts with "/", found "{shorten(value)}"')
    segments = value.split("/")
    if any(char in value for char in "%;\\?#") or not value.isprintable():
        raise ValueError(
            f'"{shorten(value)}" matches nothing: a path is compared decoded and without its query, '
            'and one with "%", ";" or "\\" is refused before'
        )
    if "//" in value or "." in segments or ".." in segments:
        raise ValueError(f'"{shorten(value)}" matches nothing: one with "//" or dot segments is refused before')
    return value


def _file(value: object, info: ValidationInfo) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"expected the path of a file, found {found(value)}")
    return posixpath.join(info.context.folder, value) if isinstance(info.context, Reading) else value


File = Annotated[str, PlainValidator(_file), WithJsonSchema({"type": "string", "minLength": 1})]
Flag = Annotated[bool, Strict()]
Count = Annotated[int, Strict()]
