"""How many places of each room a replica takes, as replicas tell one another: docs/session-events.md.

Law: a count is told by the digest of whom it counts, so nobody's name, session or address is in a message. Reading is
strict: a message that is not wholly understood is none.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass

from wsguard.protocol.strict_json import parse_object
from wsguard.sessions.census import Key

MAX_MESSAGE = 64 * 1024
"""Bytes of one message."""

MAX_KEYS = 1_000
"""Counts in one message."""

MAX_COUNT = 10_000_000
"""Places of one room; a cap is never larger than what one replica could hold."""

_REPLICA = re.compile(r"[0-9a-f]{32}")
_DIGEST = re.compile(r"[A-Za-z0-9_-]{22}")
_DIGEST_BYTES = 16


class BadCounts(ValueError):
    """A document that tells no counts. The message is a sentence that quotes no value of it."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What the replica of this name says now: how many places it takes, by digest. What is absent is as it was.

    `leaves`: it takes none any more, and is not heard of again.
    """

    replica: str
    counts: Mapping[str, int]
    leaves: bool = False


def digest(key: Key, topic: str) -> str:
    """The room `key` as it is named in messages about `topic`: 22 characters, others for every topic."""
    policy, limit, word = key  # only the last may hold what a stranger chose
    text = f"{topic}\0{policy}\0{limit}\0{word}".encode("utf-8", "surrogatepass")
    return urlsafe_b64encode(hashlib.blake2b(text, digest_size=_DIGEST_BYTES).digest())[:-2].decode("ascii")


def parse(document: bytes) -> Counts:
    """What `document` tells. Raises BadCounts."""
    if len(document) > MAX_MESSAGE:
        raise BadCounts(f"it has more than {MAX_MESSAGE} bytes")
    try:
        members = parse_object(document)
    except ValueError as error:
        raise BadCounts(f"it is {error}") from None
    replica = members.get("replica")
    if not isinstance(replica, str) or not _REPLICA.fullmatch(replica):
        raise BadCounts("replica is not 32 hex digits")
    if members.keys() == {"replica", "leaves"} and members["leaves"] is True:
        return Counts(replica, {}, leaves=True)
    if members.keys() != {"replica", "counts"} or not isinstance(members["counts"], dict):
        raise BadCounts("it has not exactly replica and counts, or replica and leaves")
    counts = members["counts"]
    if len(counts) > MAX_KEYS:
        raise BadCounts(f"it has more than {MAX_KEYS} counts")
    for name, count in counts.items():
        if not _DIGEST.fullmatch(name):
            raise BadCounts("a count is not of a digest")
        if type(count) is not int or not 0 <= count <= MAX_COUNT:
            raise BadCounts(f"a count is not a whole number from 0 to {MAX_COUNT}")
    return Counts(replica, counts)


def serialize(told: Counts) -> bytes:
    """`told` as a document that `parse` reads back."""
    what: dict[str, object] = {"leaves": True} if told.leaves else {"counts": dict(told.counts)}
    return json.dumps({"replica": told.replica, **what}, separators=(",", ":")).encode()
