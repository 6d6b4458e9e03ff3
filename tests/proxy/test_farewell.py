"""Which words a policy has for which connection."""

from __future__ import annotations

import pytest

from wsguard.policy.model import Migration, MigrationHint
from wsguard.protocol.dialects import HEED, PHRASES, Dialect
from wsguard.protocol.frames import message_frame
from wsguard.proxy.farewell import farewell
from wsguard.sessions.connection import NO_WORDS, Farewell


def _migration(dialect: Dialect, **hint: object) -> Migration:
    return Migration(hint=MigrationHint.model_validate({"dialect": dialect, **hint}))


def test_without_a_policys_word_there_is_only_the_close() -> None:
    assert farewell(None, "") == NO_WORDS


@pytest.mark.parametrize("subprotocol", ["", "chat"])
def test_a_text_of_its_own(subprotocol: str) -> None:
    found = farewell(_migration(Dialect.CUSTOM, message="go!", grace="3s"), subprotocol)
    assert found == Farewell(message_frame("go!"), grace=3.0)
    assert farewell(_migration(Dialect.CUSTOM), "") == Farewell(message_frame(HEED), grace=10.0)


@pytest.mark.parametrize("dialect", PHRASES)
def test_a_dialect_is_spoken_where_its_subprotocol_was_chosen(dialect: Dialect) -> None:
    phrases = PHRASES[dialect]
    for subprotocol in ("", "mqtt", "graphql-transport-ws", "phoenix", "chat"):
        found = farewell(_migration(dialect, grace="3s"), subprotocol)
        if subprotocol in phrases.subprotocols:
            assert (found.hint, found.goodbye) == (phrases.hint, phrases.goodbye)
            assert found.grace == (3.0 if phrases.hint else 0.0), "nobody is kept waiting for nothing"
        else:
            assert found == NO_WORDS
