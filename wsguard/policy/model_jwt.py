"""The `jwt` part of a WebSocketPolicy: who vouches, with which keys, and where the token stands."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from wsguard.policy.fields import File, Flag, Name, PositiveDuration, Text, Uri, duration
from wsguard.policy.model_base import Model, one_of, unique
from wsguard.policy.model_claims import ClaimsToHeaders
from wsguard.policy.model_extraction import Extraction, bearer_by_default


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


def _algorithm(value: object) -> object:
    if isinstance(value, str) and value.lower() == "none":
        raise ValueError(f'"{value}" is refused: an unsigned token proves nothing')
    return value


class JwtProvider(Model):
    """One issuer of tokens: exactly one of `remoteJWKS`, `localJWKS` and `localSecretFile` holds its keys."""

    model_config = one_of("remoteJWKS", "localJWKS", "localSecretFile")

    name: Name
    """The provider's name in rules, logs and metrics."""
    issuer: Text | None = None
    """What `iss` must equal; absent: `iss` is not checked."""
    audiences: tuple[Text, ...] = Field(default=(), min_length=1)
    """What `aud` must hold one of; absent: `aud` is not checked."""
    algorithms: tuple[Annotated[Algorithm, BeforeValidator(_algorithm)], ...] = Field(min_length=1)
    """The signatures that are accepted, all HMAC or all public-key."""
    remote_jwks: RemoteJwks | None = None
    """The provider's published key set."""
    local_jwks: LocalJwks | None = None
    """A key set in a file."""
    local_secret_file: File | None = Field(default=None, validate_default=True)
    """The file of the shared secret of HS256, HS384 and HS512, at least 32 bytes."""
    extract_from: Extraction = bearer_by_default()
    """Where the token stands; absent: in `Authorization`, behind `Bearer` and a space."""
    claim_to_headers: ClaimsToHeaders = ()
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
            raise ValueError("HS* algorithms need localSecretFile, and localSecretFile is for HS* algorithms only")
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
