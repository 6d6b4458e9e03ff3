"""An issuer for one run of policy tests: keys that nobody else has, in place of those that policies name."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from wsguard.policy.keys import KeySet, key_file
from wsguard.policy.model import JwtProvider
from wsguard.policy.model_policy_test import Token
from wsguard.policy.policy_set import PolicySet

_KID = "test"
_CURVES: Mapping[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
_FAMILIES: Mapping[str, Any] = {"ES": ECAlgorithm, "Ed": OKPAlgorithm}
_SECRET = 64  # bytes: enough for every HMAC (RFC 7518 §3.2)


class Issuer:
    """Signs tokens for `policies`, and has the keys that verify them (`identity.verifier.RemoteKeys`)."""

    def __init__(self, policies: PolicySet) -> None:
        jwts = (policy.spec.jwt for policy in policies.policies)
        self._providers = [provider for spec in jwts if spec is not None for provider in spec.providers]

    @property
    def local_keys(self) -> Mapping[str, KeySet]:
        """The key sets of key files, by the file's name."""
        files = ((key_file(provider), provider) for provider in self._providers)
        return {file: self.peek(provider) for file, provider in files if file is not None}

    def peek(self, provider: JwtProvider) -> KeySet:
        """The keys of `provider`."""
        return _key_set(provider.name, provider.algorithms[0].value)

    async def get(self, provider: JwtProvider, *, besides: KeySet | None = None) -> KeySet:
        """The keys of `provider`; there are no others."""
        return self.peek(provider)

    def sign(self, token: Token, now: float) -> str:
        """`token` as it was issued; `now` is seconds since the epoch. Raises LookupError for an unclear issuer."""
        named = [provider for provider in self._providers if provider.name == token.provider]
        if not named:
            raise LookupError(f'no JWT provider of the policies has the name "{token.provider}"')
        if any(_signs(provider) != _signs(named[0]) for provider in named):
            raise LookupError(
                f'policies differ in what provider "{token.provider}" is: test them in files of their own'
            )
        algorithm = named[0].algorithms[0].value
        key = _key(f"forger of {token.provider}" if token.forged else token.provider, algorithm)
        headers = None if algorithm.startswith("HS") else {"kid": _KID}
        return jwt.encode(_claims(token, named[0], now), key, algorithm, headers)


def _signs(provider: JwtProvider) -> tuple[object, ...]:
    """What of a provider its tokens depend on."""
    return provider.issuer, provider.audiences, provider.algorithms[0]


def _claims(token: Token, provider: JwtProvider, now: float) -> dict[str, Any]:
    issued = int(now - token.age)
    usual: dict[str, Any] = {"iat": issued, "exp": issued + int(token.lifetime)}
    if provider.issuer is not None:
        usual["iss"] = provider.issuer
    if provider.audiences:
        usual["aud"] = provider.audiences[0]
    return {name: value for name, value in (usual | dict(token.claims)).items() if name not in token.without}


@cache
def _key(owner: str, algorithm: str) -> Any:
    """The private key of `owner`; made once, for an RSA key takes a while."""
    if algorithm.startswith("HS"):
        return secrets.token_bytes(_SECRET)
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm])
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def _key_set(owner: str, algorithm: str) -> KeySet:
    key = _key(owner, algorithm)
    if algorithm.startswith("HS"):
        return KeySet.from_secret(key)
    public = _FAMILIES.get(algorithm[:2], RSAAlgorithm).to_jwk(key.public_key(), as_dict=True)
    return KeySet.from_jwks(json.dumps({"keys": [{**public, "kid": _KID}]}).encode())
