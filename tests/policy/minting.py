"""Tokens for tests: good ones by another library than the one under test, bad ones signed byte for byte by hand."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, Key, KeySet, OctKey, OKPKey, RSAKey

from wsguard.policy.model import Algorithm, JwtProvider
from wsguard.protocol import base64url

NOW = 1_800_000_000.0
ISSUER = "https://idp.example.test"
SECRET = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
CLAIMS: Mapping[str, Any] = {"iss": ISSUER, "aud": "chat", "sub": "ann", "iat": NOW - 10, "exp": NOW + 600}

PUBLIC_KEY_ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
HMAC_ALGORITHMS = ("HS256", "HS384", "HS512")


@cache
def private_key(algorithm: str, number: int = 1) -> Key:
    """A private key that fits `algorithm`; another one for each `number`."""
    del number
    match algorithm[:2]:
        case "RS" | "PS":
            return RSAKey.generate_key(2048)
        case "ES":
            return ECKey.generate_key({"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[algorithm])
        case "Ed":
            return OKPKey.generate_key("Ed25519")
    return OctKey.import_key(SECRET)


def public_jwk(algorithm: str, number: int = 1, **members: Any) -> dict[str, Any]:
    """The public half as a JWK; `members` are added, None removes one."""
    jwk = {**private_key(algorithm, number).as_dict(private=False), "kid": f"{algorithm}-{number}", **members}
    return {name: value for name, value in jwk.items() if value is not None}


def jwks(*keys: Any) -> bytes:
    """A key set document."""
    return json.dumps({"keys": keys}).encode()


def mint(algorithm: str, claims: Mapping[str, Any] = CLAIMS, number: int = 1, **header: Any) -> str:
    """A token signed by joserfc; `header` members are added, None removes one."""
    members = {"alg": algorithm, "kid": f"{algorithm}-{number}", **header}
    members = {name: value for name, value in members.items() if value is not None}
    payload = json.dumps(claims).encode()
    return jws.serialize_compact(members, payload, private_key(algorithm, number), algorithms=[algorithm])


def read_by_joserfc(token: str, algorithm: str, document: bytes) -> Any:
    """The payload as joserfc reads it with the keys of `document`. Raises its JoseError."""
    keys = KeySet.import_key_set(json.loads(document))
    return json.loads(jws.deserialize_compact(token, keys, algorithms=[algorithm]).payload)


def forge(
    payload: bytes | Mapping[str, Any], header: bytes | Mapping[str, Any] = {"alg": "HS256"}, secret: bytes = SECRET
) -> str:
    """An HS256 token of exactly these bytes, truly signed: whatever is wrong with it, it is not the signature."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    signed = ".".join(map(base64url.encode, parts))
    return f"{signed}.{base64url.encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def claims_with(**changes: Any) -> dict[str, Any]:
    """Good claims, changed; None removes one."""
    claims = {**CLAIMS, **changes}
    return {name: value for name, value in claims.items() if value is not None}


def provider(*algorithms: str, **fields: Any) -> JwtProvider:
    """A provider `corp` of tokens with these `algorithms`; `fields` are added, None removes one."""
    fields = {"name": "corp", "issuer": ISSUER, "audiences": ("chat",), **fields}
    if not {"local_jwks", "remote_jwks", "local_secret_file"} & fields.keys():
        where = "local_secret_file" if algorithms[0] in HMAC_ALGORITHMS else "local_jwks"
        fields[where] = "/keys/corp" if where == "local_secret_file" else {"file": "/keys/corp"}
    given = {name: value for name, value in fields.items() if value is not None}
    return JwtProvider(algorithms=tuple(map(Algorithm, algorithms)), **given)
