"""The `jwt` part of a WebSocketPolicy: who vouches, with which keys, and where in the handshake the token stands."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from wsguard.policy.fields import (
    File,
    Flag,
    Model,
    Name,
    PositiveDuration,
    Text,
    Uri,
    duration,
    short_for,
    token,
    unique,
)

RESERVED_HEADERS = frozenset(
    [
        "connection",
        "content-length",
        "cookie",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "origin",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
    ]
)
"""Header fields, in lower case, that carry no token and no claim: the protocol, the guard or a cookie source owns them."""


class Algorithm(Enum):
    """How a token may be signed (RFC 7518 §3.1, RFC 8037 §3.1). There is no `none`."""

    HS256 = "HS256"
    HS384 = "HS384"
    HS512 = "HS512"
    RS256 = "RS256"
    RS384 = "RS384"
    RS512 = "RS512"
    PS256 = "PS256"
    PS384 = "PS384"
    PS512 = "PS512"
    ES256 = "ES256"
    ES384 = "ES384"
    ES512 = "ES512"
    EDDSA = "EdDSA"

    @property
    def is_hmac(self) -> bool:
        """True where the key is a shared secret."""
        return self.value.startswith("HS")


class Encoding(Enum):
    """How a token is written behind the prefix of a subprotocol."""

    PLAIN = "Plain"
    BASE64URL = "Base64URL"


def _header_name(value: str) -> str:
    name = value.lower()
    if name in RESERVED_HEADERS or name.startswith("sec-websocket-"):
        raise ValueError(f'the header "{value}" belongs to the protocol or to the guard')
    return value


HeaderName = Annotated[str, *token("the name of a header field")]


class RemoteJwks(Model):
    """Keys that the identity provider publishes (RFC 7517 §5)."""

    uri: Uri
    """Where the key set is fetched from, with GET; redirects are not followed."""
    cache_duration: PositiveDuration = duration("5m")
    """How long a fetched key set is used before it is fetched again."""
    failed_refetch_duration: PositiveDuration = duration("1s")
    """How long to wait after a failed fetch, or after a fetch for an unknown `kid`, before the next one."""
    ca_file: File | None = None
    """PEM certificates to trust for `uri`, in place of the system's."""


class LocalJwks(Model):
    """Keys in a file (RFC 7517 §5)."""

    file: File
    """The path of the key set; a relative one starts at the folder of the policy file."""


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

    @field_validator("name")
    @classmethod
    def _carries_tokens(cls, value: str) -> str:
        return _header_name(value)


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


class ExtractFrom(Model):
    """The places in a handshake where a token is looked for."""

    NOT_YET: ClassVar[frozenset[str]] = frozenset({"firstMessage"})

    cookies: tuple[Annotated[CookieSource, short_for("name", CookieSource)], ...] = Field(
        default=(), min_length=1
    )
    """Cookies; a bare string is short for `name`."""
    headers: tuple[Annotated[HeaderSource, short_for("name", HeaderSource)], ...] = Field(
        default=(), min_length=1
    )
    """Header fields; a bare string is short for `name`."""
    params: tuple[Annotated[ParamSource, short_for("name", ParamSource)], ...] = Field(
        default=(), min_length=1
    )
    """Query parameters; a bare string is short for `name`."""
    subprotocols: tuple[Annotated[SubprotocolSource, short_for("prefix", SubprotocolSource)], ...] = Field(
        default=(), min_length=1
    )
    """Offered subprotocols; a bare string is short for `prefix`."""


AUTHORIZATION_BEARER = ExtractFrom(headers=(HeaderSource(name="Authorization", value_prefix="Bearer "),))
"""Where a token is looked for when a provider does not say (RFC 6750 §2.1)."""


class ClaimToHeader(Model):
    """A verified claim that the backend is told in a header field."""

    claim: Text
    """The claim; dots lead into nested ones."""
    header: HeaderName
    """The header field; what a client sends under this name is removed."""

    @field_validator("header")
    @classmethod
    def _carries_claims(cls, value: str) -> str:
        return _header_name(value)


def _algorithm(value: object) -> object:
    if isinstance(value, str) and value.lower() == "none":
        raise ValueError(f'"{value}" is refused: an unsigned token proves nothing')
    return value


class JwtProvider(Model):
    """One issuer of tokens: exactly one of `remoteJWKS`, `localJWKS` and `localSecretFile` holds its keys."""

    name: Name
    """The provider's name in rules, logs and metrics."""
    issuer: Text | None = None
    """What `iss` must equal; absent: `iss` is not checked."""
    audiences: tuple[Text, ...] = Field(default=(), min_length=1)
    """What `aud` must hold one of; absent: `aud` is not checked."""
    algorithms: tuple[Annotated[Algorithm, BeforeValidator(_algorithm)], ...] = Field(min_length=1)
    """The signatures that are accepted, all HMAC or all public-key."""
    remote_jwks: RemoteJwks | None = Field(default=None)
    """The provider's published key set."""
    local_jwks: LocalJwks | None = None
    """A key set in a file."""
    local_secret_file: File | None = Field(default=None, validate_default=True)
    """The file of the shared secret of HS256, HS384 and HS512, at least 32 bytes."""
    extract_from: ExtractFrom = AUTHORIZATION_BEARER
    """Where the token stands; absent: in `Authorization`, behind `Bearer` and a space."""
    claim_to_headers: tuple[ClaimToHeader, ...] = ()
    """Claims that the backend is told in header fields."""

    @field_validator("algorithms")
    @classmethod
    def _one_family(cls, value: tuple[Algorithm, ...]) -> tuple[Algorithm, ...]:
        if len({algorithm.is_hmac for algorithm in value}) > 1:
            raise ValueError(
                "HS* and public-key algorithms do not mix: a public key, which anyone has, could be taken as the secret"
            )
        return value

    @field_validator("local_secret_file")
    @classmethod
    def _one_key_source(cls, value: str | None, info: ValidationInfo) -> str | None:
        given = {
            "remoteJWKS": _given(info.data, "remote_jwks"),
            "localJWKS": _given(info.data, "local_jwks"),
            "localSecretFile": value is not None,
        }
        names = [name for name, is_given in given.items() if is_given]
        if len(names) != 1:
            said = f"found {' and '.join(names)}" if names else "found none"
            raise ValueError(f"expected exactly one of remoteJWKS, localJWKS and localSecretFile, {said}")
        algorithms: tuple[Algorithm, ...] = info.data.get("algorithms", ())
        if any(algorithm.is_hmac is (value is None) for algorithm in algorithms):
            raise ValueError(
                "HS* algorithms need localSecretFile, and localSecretFile is for HS* algorithms only"
            )
        return value

    @field_validator("extract_from")
    @classmethod
    def _from_somewhere(cls, value: ExtractFrom) -> ExtractFrom:
        if not (value.cookies or value.headers or value.params or value.subprotocols):
            raise ValueError("expected at least one of cookies, headers, params and subprotocols")
        return value

    @field_validator("claim_to_headers")
    @classmethod
    def _one_claim_a_header(cls, value: tuple[ClaimToHeader, ...]) -> tuple[ClaimToHeader, ...]:
        unique((item.header.lower().replace("_", "-") for item in value), "claims' headers")
        return value


def _given(data: Mapping[str, Any], name: str) -> bool:
    """Whether a field was in the file; one that did not validate is not in `data`, and was."""
    return data.get(name, name) is not None


class Jwt(Model):
    """Tokens as credentials: any one good token is enough, and one that is present and bad refuses."""

    optional: Flag = False
    """Whether a handshake without a token is anonymous; a bad token is still refused."""
    providers: tuple[JwtProvider, ...] = Field(min_length=1)
    """Who may vouch."""

    @field_validator("providers")
    @classmethod
    def _one_name_each(cls, value: tuple[JwtProvider, ...]) -> tuple[JwtProvider, ...]:
        unique((provider.name for provider in value), "providers")
        return value
