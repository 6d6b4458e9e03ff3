"""What a newer credential of a session changes about a live connection of it (`session.renewal`).

Law: a credential takes the place of an older one of the same issuer, subject, session and source, and of no other. It
takes all of it, an earlier `exp` too: what the newest credential says is what is known of the session.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from wsguard.sessions.connection import Connection
from wsguard.sessions.identity import Identity


def is_newer(fresh: Identity, old: Identity) -> bool:
    """True where `fresh` may take the place of `old`.

    Who has no `sid` has no session that another token could be of; who does not say when it was issued is taken to be
    old, as a log-out takes it.
    """
    if fresh.sid is None or fresh.issued_at is None:
        return False
    if (fresh.issuer, fresh.subject, fresh.sid) != (old.issuer, old.subject, old.sid) or fresh.source != old.source:
        return False
    return old.issued_at is None or fresh.issued_at > old.issued_at


def renewed(identities: Sequence[Identity], fresh: Sequence[Identity]) -> tuple[Identity, ...] | None:
    """`identities`, in their order, with those of `fresh` that are newer in the place of their elders.

    None where none is newer.
    """
    after = tuple(next((each for each in fresh if is_newer(each, old)), old) for old in identities)
    return None if all(new is old for new, old in zip(after, identities, strict=True)) else after


def live_by(connection: Connection, identities: Sequence[Identity]) -> list[tuple[str, str]]:
    """Make `connection` one of `identities`; it must not be in a registry meanwhile.

    Returns the digests of the cookies that others have taken the place of, each with the other's.
    Whom it was opened with stays known, though not by claims: whoever was let in with a token goes when that very token
    is logged out. A token that came between its first and its present one is forgotten.
    """
    before = connection.identities
    known = {who.source for who in connection.opened_with}
    replaced = [old for old in before if old not in identities and old.source not in known]
    connection.opened_with = (*connection.opened_with, *(replace(old, claims={}) for old in replaced))
    connection.identity, connection.others = identities[0], tuple(identities[1:])
    cookies = ((old.cookie, new.cookie) for old, new in zip(before, identities, strict=True))
    return [(old, new) for old, new in cookies if old is not None and new is not None and old != new]
