"""What a request and its answer say about a session (`session.logoutDetection`). Nothing here acts on it.

Law: the application's word ends a session, never the client's. Who only sends a request proves nothing, so a request
counts by the answer it got; and whether the cookie is one that was ever good is asked by whoever acts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wsguard.policy.credentials import Credential, cookie_credential
from wsguard.policy.effective import Effective
from wsguard.policy.origin import SAME_HOST, Origin, PatternKind, allows
from wsguard.protocol import cookies, set_cookie
from wsguard.protocol.http import SAFE_METHODS, Headers, RequestHead
from wsguard.protocol.target import BadTarget, read_path
from wsguard.sessions.identity import cookie_digest

if TYPE_CHECKING:
    from wsguard.policy.model import LogoutDetection, WebSocketPolicy

_MOST_VALUES = 256  # of one cookie in one request: more than a browser keeps for one site, whoever has filled its jar


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request that went to the backend, and the head of its answer."""

    request: RequestHead
    effective: Effective
    status: int
    answer: Headers


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """The session of the cookie with this digest is over. `policy` is whose detection says so, and `why` a sentence.

    `credential` is the cookie where a provider of `policy` reads it, so that it can be verified.
    """

    policy: WebSocketPolicy
    cookie: str
    why: str
    credential: Credential | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Replaced:
    """The same session goes on under another value of its cookie; both are digests."""

    policy: WebSocketPolicy
    cookie: str
    successor: str


Sign = LoggedOut | Replaced


def session_cookies(headers: Headers, names: Iterable[str]) -> tuple[str, ...]:
    """The digests of the cookies `names` that `headers` carry; an empty one is none."""
    return tuple(dict.fromkeys(cookie_digest(value) for name in names for value in _values(headers, name)))


def _values(headers: Headers, name: str) -> list[str]:
    """The cookie's values as `policy/credentials.py` has them, which strips a token; empty ones are none."""
    values = dict.fromkeys(value.strip(" \t") for value in cookies.values(headers, name))
    return [value for value in values if value][:_MOST_VALUES]


def signs(exchange: Exchange, policies: Iterable[WebSocketPolicy], now: float) -> list[Sign]:
    """Everything that `exchange` says to the detections of `policies`. `now` is seconds since the epoch.

    A policy has a say where it is for the request's host, whatever the path: who logs out does so beside the socket's.
    """
    over: dict[str, LoggedOut] = {}
    replaced: list[Replaced] = []
    for policy, detection in _concerned(exchange.effective, policies):
        for sign in _signs(exchange, policy, detection, now):
            if isinstance(sign, Replaced):
                replaced.append(sign)
            elif sign.cookie not in over or (over[sign.cookie].credential is None and sign.credential is not None):
                over[sign.cookie] = sign
    return [*over.values(), *(sign for sign in replaced if sign.cookie not in over)]


def carries_session(request: RequestHead, effective: Effective, policies: Iterable[WebSocketPolicy]) -> bool:
    """Whether `request` carries a cookie that the detection of any of `policies` watches there."""
    names = {name for _, detection in _concerned(effective, policies) for name in detection.cookies}
    return any(_values(request.headers, name) for name in names)


def _concerned(
    effective: Effective, policies: Iterable[WebSocketPolicy]
) -> Iterator[tuple[WebSocketPolicy, LogoutDetection]]:
    host = effective.authority.host
    for policy in policies:
        hostnames, detection = policy.spec.match.hostnames, policy.spec.session.logout_detection
        if detection is not None and (not hostnames or any(pattern.matches(host) for pattern in hostnames)):
            yield policy, detection


def _signs(exchange: Exchange, policy: WebSocketPolicy, detection: LogoutDetection, now: float) -> Iterator[Sign]:
    listed = _listed(exchange, policy, detection)
    if not listed and not exchange.answer.all(b"set-cookie"):
        return
    for name in detection.cookies:
        carried = {cookie_digest(value): value for value in _values(exchange.request.headers, name)}
        if not carried:
            continue
        left, cleared = _afterwards(exchange, name, now)
        if listed or (cleared and not left):
            why = listed or f"the answer clears the cookie {name}"
            for digest, value in carried.items():
                yield LoggedOut(policy, digest, why, cookie_credential(policy, name, value))
        elif left and not left.intersection(carried):
            yield from (Replaced(policy, before, after) for before in carried for after in left)


def _afterwards(exchange: Exchange, name: str, now: float) -> tuple[frozenset[str], bool]:
    """The digests that the answer gives the cookie `name`, and whether it clears one.

    A cookie is known by name, Domain and Path (RFC 6265 §5.3 step 11); of several fields for one the last counts.
    """
    host, path = exchange.effective.authority.host, exchange.request.raw_path
    last: dict[tuple[str, str], set_cookie.SetCookie] = {}
    for cookie in set_cookie.named(exchange.answer.all(b"set-cookie"), name):
        if cookie.could_replace_one_sent_to(host, path):
            last[cookie.domain or host, cookie.path or set_cookie.default_path(path)] = cookie
    left = frozenset(cookie_digest(cookie.value.strip(" \t")) for cookie in last.values() if not cookie.clears(now))
    return left, len(left) < len(last)


def _listed(exchange: Exchange, policy: WebSocketPolicy, detection: LogoutDetection) -> str:
    """Why the request is one of `requests` that went well; empty where it is not."""
    request = exchange.request
    if not 200 <= exchange.status < 400 or request.method in SAFE_METHODS:  # such a request logs nobody out by itself
        return ""
    if not any(listed.method == request.method for listed in detection.requests):
        return ""
    try:
        path = read_path(request.target)
    except BadTarget:
        return ""
    if not any((listed.method, listed.path) == (request.method, path) for listed in detection.requests):
        return ""
    return "" if _is_foreign(exchange, policy) else f"{request.method} {path} was answered {exchange.status}"


def _is_foreign(exchange: Exchange, policy: WebSocketPolicy) -> bool:
    """Whether another site's page made the request: a form there can send one with the user's cookie (CSRF).

    `*` is no answer here. A page whose Referrer-Policy is `no-referrer` sends the Origin `null` even to its own host;
    then Sec-Fetch-Site, which no script can set, says whose it is.
    """
    headers = exchange.request.headers
    site = set(headers.tokens(b"sec-fetch-site"))
    if b"cross-site" in site:
        return True
    friends = (SAME_HOST, *(each for each in policy.spec.origin.allow_origins if each.kind is PatternKind.LISTED))
    return not all(
        site == {b"same-origin"} if raw == b"null" else allows(friends, Origin.parse(raw), exchange.effective)
        for raw in headers.all(b"origin")
    )
