"""Where in a handshake, or behind it, a credential stands, whatever kind of credential it is."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from wsguard.policy.fields import Flag, PositiveDuration, Size, Text, duration, size, token
from wsguard.policy.model_base import Model, short_for, shorten, unique, written


class Encoding(Enum):
    """How a token is written behind the prefix of a subprotocol."""

    PLAIN = "Plain"
    BASE64URL = "Base64URL"


# The protocol and the guard own these.
_RESERVED_HEADERS = frozenset(
    [
        "connection",
        "content-length",
        "expect",
        "forwarded",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-method",
        "x-forwarded-proto",
        "x-forwarded-uri",
    ]
)


_BROWSER_HEADERS = frozenset(["cookie", "origin"])  # a cookie has a source of its own; an Origin proves no identity


def _asked_header(name: str) -> str:
    lower = name.lower().replace("_", "-")
    if lower in _RESERVED_HEADERS or lower.startswith("sec-websocket-"):
        raise ValueError(f'the header "{name}" belongs to the protocol or to the guard')
    return name


def _free_header(name: str) -> str:
    if name.lower().replace("_", "-") in _BROWSER_HEADERS:
        raise ValueError(f'the header "{name}" belongs to the protocol or to the guard')
    return _asked_header(name)


HeaderName = Annotated[str, *token("the name of a header field"), AfterValidator(_free_header)]
AskedHeader = Annotated[str, *token("the name of a header field"), AfterValidator(_asked_header)]


class CookieSource(Model):
    """A token in a cookie."""

    name: Annotated[str, *token("the name of a cookie")]
    """The name of the cookie."""
    forward: Flag = True
    """Whether the backend sees the cookie."""


class HeaderSource(Model):
    """A token in a header field."""

    name: HeaderName
    """The name of the header field."""
    value_prefix: str = ""
    """What stands before the token, such as `Bearer` and a space; compared without case."""
    forward: Flag = True
    """Whether the backend sees the header field."""


class ParamSource(Model):
    """A token in a query parameter."""

    name: Text
    """The name of the parameter, percent-decoded."""
    forward: Flag = False
    """Whether the backend sees the parameter."""


class SubprotocolSource(Model):
    """A token in the list of offered subprotocols, the one place where a browser's script can put it."""

    prefix: Annotated[str, *token("the prefix of a subprotocol")]
    """What stands before the token, such as `bearer.`."""
    encoding: Encoding = Encoding.PLAIN
    """How the token is written behind the prefix; Base64URL is Kubernetes' form, without padding."""
    forward: Flag = False
    """Whether the backend sees the subprotocol."""


MAX_FIRST_MESSAGE = 1 << 16
"""The greatest `maxSize`, in bytes: so much may a client that has proved nothing yet hold of the guard's memory."""


def keys(path: str) -> str:
    """Keys with dots between them; raises ValueError for anything else."""
    if not all(path.split(".")):
        raise ValueError(f'expected keys with dots between them, such as payload.token, found "{shorten(path)}"')
    return path


def _bounded(value: int) -> int:
    if not 0 < value <= MAX_FIRST_MESSAGE:
        raise ValueError("expected a size from 1Ki to 64Ki")
    return value


class FirstMessage(Model):
    """A token in the first WebSocket message, which is awaited where the handshake itself carries no credential."""

    json_path: Annotated[Text, AfterValidator(keys)]
    """The member of the message, a JSON object, that holds the token; dots lead into nested objects."""
    timeout: PositiveDuration = duration("5s")
    """How long the message may take to come, from the handshake's answer on."""
    max_size: Annotated[Size, AfterValidator(_bounded)] = size("8Ki")
    """How long the message may be, all its fragments together; at most 64Ki."""
    forward: Flag = False
    """Whether the backend gets the message as well."""


class ExtractFrom(Model):
    """The places in a handshake where a token is looked for."""

    cookies: tuple[Annotated[CookieSource, short_for("name", CookieSource)], ...] = Field(default=(), min_length=1)
    """Cookies; a bare string is short for `name`."""
    headers: tuple[Annotated[HeaderSource, short_for("name", HeaderSource)], ...] = Field(default=(), min_length=1)
    """Header fields; a bare string is short for `name`."""
    params: tuple[Annotated[ParamSource, short_for("name", ParamSource)], ...] = Field(default=(), min_length=1)
    """Query parameters; a bare string is short for `name`."""
    subprotocols: tuple[Annotated[SubprotocolSource, short_for("prefix", SubprotocolSource)], ...] = Field(
        default=(), min_length=1
    )
    """Offered subprotocols; a bare string is short for `prefix`."""
    first_message: FirstMessage | None = None
    """The first message, awaited only where no other credential came."""

    @field_validator("cookies", "params")
    @classmethod
    def _named_once(
        cls, value: tuple[CookieSource | ParamSource, ...], info: ValidationInfo
    ) -> tuple[CookieSource | ParamSource, ...]:
        unique((source.name for source in value), str(info.field_name))
        return value


def from_somewhere(value: ExtractFrom) -> ExtractFrom:
    """`value`; raises ValueError where it names no place at all."""
    if not (value.cookies or value.headers or value.params or value.subprotocols or value.first_message):
        raise ValueError("expected at least one of cookies, headers, params, subprotocols and firstMessage")
    return value


AUTHORIZATION_BEARER = ExtractFrom(headers=(HeaderSource(name="Authorization", value_prefix="Bearer "),))
"""Where a token is looked for when a provider does not say (RFC 6750 §2.1)."""

Extraction = Annotated[ExtractFrom, AfterValidator(from_somewhere)]


def bearer_by_default() -> Any:
    """A field that says where a token stands; absent: in `Authorization`."""
    return written(AUTHORIZATION_BEARER, {"headers": [{"name": "Authorization", "valuePrefix": "Bearer "}]})
