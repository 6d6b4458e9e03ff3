"""A logout: what it says, and how it takes hold of live connections and of tokens that may yet come back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.connection import Connection
from wsguard.sessions.denylist import DenyList, is_issued_before
from wsguard.sessions.identity import Identity
from wsguard.sessions.registry import Registry

LogoutKind = Literal["sid", "subject", "jti", "cookie"]


@dataclass(frozen=True, slots=True)
class Logout:
    """A session, a subject, a token or a session cookie that is logged out.

    `word` names it; of a cookie it is the digest. `issuer` is None where every issuer is meant. `issued_before`
    (seconds since the epoch) bounds a subject's logout to the tokens issued before it; the others are logged out
    outright.
    """

    kind: LogoutKind
    word: str
    issuer: str | None
    issued_before: float


def log_out(logout: Logout, registry: Registry, denylist: DenyList, now: float) -> int:
    """Remember `logout`, then cut the live connections it speaks of; returns how many those are.

    In this order: a client that comes back at once, and a handshake that registers right now, find the entry.
    Raises ExceptionGroup where cutting failed, after every connection was tried.
    """
    meant = spelt_out(logout, registry)
    for each in meant:
        _remember(each, denylist, now)
    return _cut_all(list(dict.fromkeys(connection for each in meant for connection in _find(each, registry))))


def spelt_out(logout: Logout, registry: Registry) -> list[Logout]:
    """`logout`, and with a session cookie the same of the values that it replaced: they are of one session."""
    if logout.kind != "cookie":
        return [logout]
    words = dict.fromkeys((logout.word, *registry.successions.session_of(logout.word)))
    return [replace(logout, word=word) for word in words]


def proven(cookie: str, registry: Registry, denylist: DenyList, now: float) -> list[str]:
    """What to log out for a `cookie` of which only somebody's word is known: of its session what was admitted, if any.

    What was logged out before is left out, and what `spelt_out` brings along. An application gives out as many values
    as it is asked for: only those that a handshake was admitted with may take room in the deny-list.
    """
    found: list[str] = []
    covered: set[str] = set()
    for digest in registry.successions.session_of(cookie):
        if digest not in covered and not denylist.denies_cookie(digest, (), now):
            found.append(digest)
            covered.update(registry.successions.session_of(digest))
    return found


def log_out_everyone(issued_before: float, registry: Registry, denylist: DenyList, now: float) -> int:
    """Log out whoever holds a credential issued before `issued_before`; who has none has no session to end.

    A session cookie that somebody else has vouched for says nothing of its age: it is taken to be old.

    Returns how many connections that cut, and raises as `log_out` does.
    """
    denylist.deny_everyone(issued_before, now)
    return _cut_all([c for c in registry if _is_of_before(c, issued_before)])


def _is_of_before(connection: Connection, moment: float) -> bool:
    if not connection.identities:
        return bool(connection.watched)
    return any(is_issued_before(who, moment) for who in connection.identities)


def _cut_all(connections: list[Connection]) -> int:
    failures = [error for error in map(_cut, connections) if error is not None]
    if failures:
        raise ExceptionGroup("connections could not be cut", failures)
    return len(connections)


def _cut(connection: Connection) -> Exception | None:
    try:
        connection.link.cut(CloseReason.LOGGED_OUT)
    except Exception as error:
        return error
    return None


def _remember(logout: Logout, denylist: DenyList, now: float) -> None:
    match logout.kind:
        case "sid":
            denylist.deny_sid(logout.issuer, logout.word, now)
        case "jti":
            denylist.deny_jti(logout.issuer, logout.word, now)
        case "cookie":
            denylist.deny_cookie(logout.issuer, logout.word, now)
        case "subject":
            denylist.deny_subject(logout.issuer, logout.word, logout.issued_before, now)


def _find(logout: Logout, registry: Registry) -> list[Connection]:
    match logout.kind:
        case "sid":
            return registry.find(issuer=logout.issuer, sid=logout.word)
        case "jti":
            return registry.find(issuer=logout.issuer, jti=logout.word)
        case "cookie":
            return registry.find(issuer=logout.issuer, cookie=logout.word)
        case "subject":
            found = registry.find(issuer=logout.issuer, subject=logout.word)
            return [connection for connection in found if any(_is_meant(logout, who) for who in connection.identities)]


def _is_meant(logout: Logout, who: Identity) -> bool:
    """Whether the log-out of a subject is about `who`."""
    is_subject = who.subject == logout.word and logout.issuer in (None, who.issuer)
    return is_subject and is_issued_before(who, logout.issued_before)
