"""An operator, an account and a user as `nsc` makes them, for a NATS server that trusts signed JWTs."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import nkeys

from wsguard.protocol.base64url import encode

UNLIMITED = dict.fromkeys(("subs", "conn", "leaf", "imports", "exports", "data", "payload"), -1)
STORAGE = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)


def make_seed(prefix: int) -> str:
    """A new nkey's seed; `prefix` is one of nkeys.PREFIX_BYTE_*."""
    return nkeys.encode_seed(os.urandom(32), prefix).decode()  # type: ignore[no-any-return]


def public(seed: str) -> str:
    """The public key that goes with a seed."""
    return nkeys.from_seed(seed.encode()).public_key.decode()  # type: ignore[no-any-return]


def sign(claims: dict[str, Any], subject: str, seed: str) -> str:
    """A NATS JWT about `subject`, signed with `seed`."""
    header = {"typ": "JWT", "alg": "ed25519-nkey"}
    body = {"jti": os.urandom(8).hex(), "iat": int(time.time()), "iss": public(seed), "name": "test", "sub": subject}
    parts = [encode(json.dumps(part).encode()) for part in (header, {**body, "nats": {**claims, "version": 2}})]
    signature = nkeys.from_seed(seed.encode()).sign(".".join(parts).encode())
    return ".".join((*parts, encode(signature)))


def operator_mode() -> tuple[str, str]:
    """What a server's configuration says, and the `.creds` of a user of its one account."""
    operator, account, system, user = map(
        make_seed,
        (nkeys.PREFIX_BYTE_OPERATOR, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_USER),
    )
    accounts = {
        public(account): sign({"type": "account", "limits": UNLIMITED | STORAGE}, public(account), operator),
        public(system): sign({"type": "account", "limits": UNLIMITED}, public(system), operator),
    }
    config = {
        "operator": sign({"type": "operator"}, public(operator), operator),
        "system_account": public(system),
        "resolver": "MEMORY",
        "resolver_preload": accounts,
    }
    token = sign({"type": "user", "subs": -1, "data": -1, "payload": -1}, public(user), account)
    return json.dumps(config)[1:-1], (
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user}\n------END USER NKEY SEED------\n"
    )
