"""The credentials of a NATS user as `nsc` writes them (`.creds`): a JWT, and the key that goes with it."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field

_TOKEN = re.compile(r"BEGIN NATS USER JWT-+\s+(\S+)\s")
_SEED = re.compile(r"BEGIN USER NKEY SEED-+\s+(SU[A-Z2-7]{56})\s")


@dataclass(frozen=True, slots=True)
class NatsCredentials:
    """`token` is the user's JWT, `key` the 32 bytes of an Ed25519 private key (RFC 8032)."""

    token: str = field(repr=False)
    key: bytes = field(repr=False)


def read_nats_credentials(content: bytes) -> NatsCredentials:
    """What the file holds. Raises ValueError, quoting nothing of it."""
    text = content.decode("ascii", "replace")
    token, seed = _TOKEN.search(text), _SEED.search(text)
    if token is None or seed is None:
        raise ValueError("it does not have a user's JWT and the seed of its nkey, as nsc writes them")
    # An nkey's seed is base32 of two bytes that say what it is, the key, and two of a checksum.
    return NatsCredentials(token[1], base64.b32decode(f"{seed[1]}======")[2:34])
