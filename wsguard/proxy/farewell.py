"""What a policy says to a client that has to leave for another guard (`migration`)."""

from __future__ import annotations

from functools import lru_cache

from wsguard.policy.model import Migration
from wsguard.protocol.dialects import PHRASES, Dialect
from wsguard.protocol.frames import message_frame
from wsguard.sessions.connection import NO_WORDS, Farewell


@lru_cache(maxsize=256)  # connections of one policy share the frames
def farewell(migration: Migration | None, subprotocol: str) -> Farewell:
    """The frames for a client whose backend has chosen `subprotocol` ("": none); none that it would not understand."""
    if migration is None:
        return NO_WORDS
    hint = migration.hint
    if hint.dialect is Dialect.CUSTOM:
        return Farewell(message_frame(hint.message), grace=hint.grace)
    phrases = PHRASES[hint.dialect]
    if subprotocol not in phrases.subprotocols:
        return NO_WORDS
    return Farewell(phrases.hint, phrases.goodbye, hint.grace if phrases.hint else 0.0)
