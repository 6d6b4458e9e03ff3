"""An operator, an account and a user as `nsc` makes them, for a NATS server that trusts signed JWTs."""

from __future__ import annotations

import base64
import json
import os
import time
from binascii import crc_hqx
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wsguard.protocol.base64url import encode

_SEED, _OPERATOR, _ACCOUNT, _USER = 18 << 3, 14 << 3, 0, 20 << 3  # what base32 spells as S, O, A, U
UNLIMITED = dict.fromkeys(("subs", "conn", "leaf", "imports", "exports", "data", "payload"), -1)
STORAGE = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)


@dataclass(frozen=True)
class Nkey:
    """A new key pair in NATS' spelling: base32, with what it is in front and a checksum behind."""

    prefix: int
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate, repr=False)

    @property
    def public(self) -> str:
        return _spelled(bytes((self.prefix,)) + self.key.public_key().public_bytes_raw())

    @property
    def seed(self) -> str:
        return _spelled(bytes((_SEED | self.prefix >> 5, (self.prefix & 31) << 3)) + self.key.private_bytes_raw())


def _spelled(data: bytes) -> str:
    return base64.b32encode(data + crc_hqx(data, 0).to_bytes(2, "little")).decode().rstrip("=")


def sign(claims: dict[str, Any], subject: Nkey, issuer: Nkey) -> str:
    """A NATS JWT about `subject`, signed by `issuer`."""
    header = {"typ": "JWT", "alg": "ed25519-nkey"}
    body = {"jti": os.urandom(8).hex(), "iat": int(time.time()), "iss": issuer.public, "name": "test"}
    body |= {"sub": subject.public, "nats": {**claims, "version": 2}}
    parts = [encode(json.dumps(part).encode()) for part in (header, body)]
    signature = issuer.key.sign(".".join(parts).encode())
    return ".".join((*parts, encode(signature)))


def operator_mode() -> tuple[str, str]:
    """What a server's configuration says, and the `.creds` of a user of its one account."""
    operator, account, system, user = map(Nkey, (_OPERATOR, _ACCOUNT, _ACCOUNT, _USER))
    accounts = {
        account.public: sign({"type": "account", "limits": UNLIMITED | STORAGE}, account, operator),
        system.public: sign({"type": "account", "limits": UNLIMITED}, system, operator),
    }
    config = {
        "operator": sign({"type": "operator"}, operator, operator),
        "system_account": system.public,
        "resolver": "MEMORY",
        "resolver_preload": accounts,
    }
    token = sign({"type": "user", "subs": -1, "data": -1, "payload": -1}, user, account)
    return json.dumps(config)[1:-1], (
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )
