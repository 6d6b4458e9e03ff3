"""The identity providers that tell the guard that a session has ended: `sessionEvents.sources` that post, signed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from wsguard.policy.fields import File, Text
from wsguard.policy.model_base import Model, one_of
from wsguard.policy.model_jwt import Algorithm, JwtProvider, LocalJwks, RemoteJwks


class _Pushed(Model):
    """What an identity provider posts, signed."""

    issuer: Text
    """What `iss` must equal."""
    algorithms: tuple[Algorithm, ...] = Field(min_length=1)
    """The signatures that are accepted, all public-key."""
    remote_jwks: RemoteJwks | None = None
    """The issuer's published key set."""
    local_jwks: LocalJwks | None = Field(default=None, validate_default=True)
    """A key set in a file."""

    @field_validator("algorithms")
    @classmethod
    def _public(cls, value: tuple[Algorithm, ...]) -> tuple[Algorithm, ...]:
        if any(algorithm.is_hmac for algorithm in value):
            raise ValueError("HS* algorithms are not for events: who can verify one could forge it")
        return value

    @field_validator("local_jwks")
    @classmethod
    def _one_key_source(cls, value: LocalJwks | None, info: ValidationInfo) -> LocalJwks | None:
        if (info.data.get("remote_jwks", value) is None) is (value is None):
            raise ValueError("expected exactly one of remoteJWKS and localJWKS")
        return value

    def _provider(self, name: str, audiences: tuple[str, ...]) -> JwtProvider:
        return JwtProvider(
            name=name,
            issuer=self.issuer,
            audiences=audiences,
            algorithms=self.algorithms,
            remote_jwks=self.remote_jwks,
            local_jwks=self.local_jwks,
        )


class BackChannelLogout(_Pushed):
    """Logout tokens that an OpenID provider posts to `/.wsguard/backchannel-logout`."""

    model_config = one_of("remoteJWKS", "localJWKS")

    type: Literal["BackChannelLogout"]
    """OpenID Connect Back-Channel Logout 1.0."""
    client_ids: tuple[Text, ...] = Field(min_length=1)
    """What `aud` must hold one of: the application's client IDs at the provider."""

    @property
    def provider(self) -> JwtProvider:
        """Who signs, with which keys."""
        return self._provider("back-channel-logout", self.client_ids)


class SharedSignals(_Pushed):
    """Security event tokens that a transmitter of OpenID's Shared Signals posts to `/.wsguard/events`."""

    model_config = one_of("remoteJWKS", "localJWKS")

    type: Literal["SharedSignals"]
    """CAEP's session-revoked, pushed as RFC 8935 has it."""
    audiences: tuple[Text, ...] = Field(min_length=1)
    """What `aud` must hold one of."""
    authorization_file: File | None = None
    """A file with what the Authorization field must be, whole; absent: the signature alone is asked for."""

    @property
    def provider(self) -> JwtProvider:
        """Who signs, with which keys."""
        return self._provider("shared-signals", self.audiences)
