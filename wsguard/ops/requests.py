"""Reads what the control API is asked, strictly: what is not understood is refused, never ignored."""

from __future__ import annotations

from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Any, NoReturn

from aiohttp import web

from wsguard.ops.problem import ProblemError
from wsguard.ops.redact import is_digest, printable
from wsguard.policy.fields import parse_duration
from wsguard.protocol.strict_json import parse_object
from wsguard.sessions.events import CLOCK_ALLOWANCE, MAX_WORD, next_second
from wsguard.sessions.identity import cookie_digest
from wsguard.sessions.logout import Logout, LogoutKind

MAX_BODY = 16 * 1024
_LONGEST_WINDOW = 86_400.0
_NAMES: dict[str, LogoutKind] = {"sid": "sid", "subject": "subject", "jti": "jti", "cookie": "cookie"}


def parameters(request: web.Request, *known: str) -> dict[str, str]:
    """The query's parameters, each at most once. Raises ProblemError for others and for repetition."""
    for name in request.query:
        if name not in known:
            _refuse(f"unknown parameter {_shown(name)}: {_listed(known)}")
        if len(request.query.getall(name)) > 1:
            _refuse(f"the parameter {name} is given twice")
    return dict(request.query)


def limit(text: str | None, default: int, maximum: int) -> int:
    """The page size. Raises ProblemError for anything but a number from 1 to `maximum`."""
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= maximum):
        _refuse(f"limit is a number from 1 to {maximum}")
    return int(text)


async def members(request: web.Request, *known: str) -> dict[str, Any]:
    """The body, a JSON object with only `known` members; no body is an empty object. Raises ProblemError."""
    text = await request.read()
    if not text:
        return {}
    try:
        body = parse_object(text)
    except ValueError as error:
        _refuse(f"the body: {error}")
    for name in body:
        if name not in known:
            _refuse(f"unknown member {_shown(name)}: {_listed(known)}")
    return body


def target(body: dict[str, Any]) -> str:
    """The name of the backend that a migration goes to. Raises ProblemError."""
    return _word(body, "to") if "to" in body else _refuse("to is missing: the name of a backend")


def window(body: dict[str, Any], default: float) -> float:
    """The window of a drain or a migration in seconds. Raises ProblemError."""
    text = body.get("window")
    if text is None:
        return default
    if not isinstance(text, str):
        _refuse('window is a duration such as "30s"')
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        _refuse(f"window: {error}")
    if seconds > _LONGEST_WINDOW:
        _refuse("window: a day at most")
    return seconds


def logout(body: dict[str, Any], now: float, is_issuer: Callable[[str], bool], issuers: Collection[str]) -> Logout:
    """What a logout's body asks for. `issuers` are those configured; raises ProblemError."""
    given = [name for name in _NAMES if name in body]
    if len(given) != 1:
        _refuse("give exactly one of sid, subject, jti and cookie")
    kind = _NAMES[given[0]]
    word = _word(body, kind)
    if kind != "subject" and is_digest(word):
        _refuse(f"this is the digest of a {kind}, as lists show it: give the {kind} itself")
    if kind == "cookie":  # its value says all, and is kept by nobody
        issued_before = _issued_before(body, kind, now)
        return Logout(kind, cookie_digest(word), _issuer(body, is_issuer, ()), issued_before)
    return Logout(kind, word, _issuer(body, is_issuer, issuers), _issued_before(body, kind, now))


def _issuer(body: dict[str, Any], is_issuer: Callable[[str], bool], issuers: Collection[str]) -> str | None:
    if "issuer" in body:
        issuer = _word(body, "issuer")
        if not is_issuer(issuer):
            _refuse(f"no policy trusts the issuer {_shown(issuer)}: {_listed(issuers)}")
        return issuer
    if len(issuers) > 1:
        _refuse(f"several issuers are configured, say which: {_listed(issuers)}")
    return None


def _issued_before(body: dict[str, Any], kind: LogoutKind, now: float) -> float:
    if "issuedBefore" not in body:
        return next_second(now)
    if kind != "subject":
        _refuse(f"issuedBefore goes with subject: a {kind} is logged out outright")
    seconds = body["issuedBefore"]
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds < 0:
        _refuse("issuedBefore is a number of seconds since the epoch")
    if seconds > now + CLOCK_ALLOWANCE:
        _refuse("issuedBefore is in the future; it is a number of seconds, not of milliseconds")
    return float(seconds)


def _word(body: dict[str, Any], name: str) -> str:
    word = body[name]
    if not isinstance(word, str) or not 0 < len(word) <= MAX_WORD:
        _refuse(f"{name} is a string, neither empty nor longer than {MAX_WORD} characters")
    return word


def _refuse(detail: str) -> NoReturn:
    raise ProblemError(HTTPStatus.BAD_REQUEST, detail)


def _shown(word: str) -> str:
    return f'"{printable(word[:80])}"'


def _listed(words: Collection[str]) -> str:
    return f"known are {', '.join(printable(word) for word in sorted(words))}" if words else "there are none"
