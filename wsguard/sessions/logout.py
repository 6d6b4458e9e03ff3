"""A logout: what it says, and how it takes hold of live connections and of tokens that may yet come back."""

from __future__ import annotations

from dataclasses import dataclass
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
    _remember(logout, denylist, now)
    return _cut_all(_find(logout, registry))


def log_out_everyone(issued_before: float, registry: Registry, denylist: DenyList, now: float) -> int:
    """Log out whoever holds a credential issued before `issued_before`; who has none has no session to end.

    Returns how many connections that cut, and raises as `log_out` does.
    """
    denylist.deny_everyone(issued_before, now)
    return _cut_all([c for c in registry if any(is_issued_before(who, issued_before) for who in c.identities)])


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
