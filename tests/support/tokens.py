"""Tokens made by another library than the one that checks them."""

from __future__ import annotations

import json
import secrets
import time
import warnings
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

ISSUER = "https://idp.example.test"
AUDIENCE = "chat"


@dataclass(frozen=True)
class Issuer:
    """An identity provider with one key. Tokens are good unless the caller says otherwise."""

    algorithm: str
    kid: str
    issuer: str
    key: Key = field(repr=False)

    @classmethod
    def of(cls, algorithm: str, kid: str = "k1", issuer: str = ISSUER) -> Issuer:
        """An issuer whose key fits `algorithm`."""
        return cls(algorithm, kid, issuer, make_key(algorithm, kid))

    def token(self, subject: str = "ann", *, lives: float = 3600.0, **claims: Any) -> str:
        """A token for `subject` that expires in `lives` seconds; `claims` are added, None removes one."""
        now = time.time()
        payload: dict[str, Any] = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": subject,
            "iat": int(now),
            "exp": now + lives,
            **claims,
        }
        payload = {name: value for name, value in payload.items() if value is not None}
        header = {"alg": self.algorithm, "kid": self.kid}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # EdDSA is what policies name; RFC 9864 renames it
            return jwt.encode(header, payload, self.key, algorithms=[self.algorithm])

    def jwks(self) -> str:
        """The public key as a JWK Set."""
        public = {**self.key.as_dict(private=False), "kid": self.kid, "alg": self.algorithm, "use": "sig"}
        return json.dumps({"keys": [public]})

    def write_secret(self, path: Path) -> None:
        """The HMAC secret as the file that `localSecretFile` names."""
        assert isinstance(self.key, OctKey)
        path.write_bytes(self.key.get_op_key("sign"))


@cache
def make_key(algorithm: str, name: str = "k1") -> Key:
    """A private key that fits `algorithm`; the same one for the same arguments."""
    match algorithm[:2]:
        case "HS":
            return OctKey.import_key(secrets.token_hex(32))  # text: a stray newline in a file cannot change it
        case "RS" | "PS":
            return RSAKey.generate_key(2048)
        case "ES":
            return ECKey.generate_key({"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[algorithm])
        case _:
            return OKPKey.generate_key("Ed25519")
