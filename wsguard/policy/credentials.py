"""Where credentials stand in a handshake: reading them, and erasing those that the backend must not see.

The one place behind a handshake, its first message, is read by `policy.first_message`.

What is read is what is erased, by the same rules, so that a credential cannot reach the backend in a spelling
that only one of them understands. Nothing here asks whether a credential is any good.
"""

from __future__ import annotations

import string
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from wsguard.policy.model_extraction import Encoding
from wsguard.protocol import base64url, cookies, query
from wsguard.protocol.handshake import Handshake
from wsguard.protocol.http import Headers, RequestHead, folded

if TYPE_CHECKING:
    from wsguard.policy.model import IntrospectionProvider, JwtProvider, WebSocketPolicy


class Kind(Enum):
    """The places for a credential: four in a handshake, one behind it."""

    COOKIE = "cookie"
    HEADER = "header"
    PARAM = "param"
    SUBPROTOCOL = "subprotocol"
    FIRST_MESSAGE = "first-message"


@dataclass(frozen=True, slots=True)
class Credential:
    """One credential, as it was found.

    `name` is the cookie, the header field in lower case, the parameter, the subprotocol's prefix, or the keys that
    lead to it in the first message.
    `providers` are those of the policy that read this place, in its order. `forward` is False where any of
    them hides it from the backend. `token` is "" where the place is taken by something that is no token.
    `offered` is the subprotocol as the client offered it.
    """

    kind: Kind
    name: str
    providers: tuple[str, ...]
    forward: bool
    token: str = field(repr=False)
    offered: str | None = field(default=None, repr=False)

    @property
    def source(self) -> str:
        """Where it was found, as in logs: `cookie:session`, `header:authorization`, `subprotocol:bearer.`"""
        return f"{self.kind.value}:{self.name}"


@dataclass(frozen=True, slots=True)
class CredentialConflict:
    """One place is taken twice, by different values: the backend might read the one that was not judged."""

    detail: str


_TOKEN_CHARACTERS = frozenset("!#$%&'*+-.^_`|~" + string.digits + string.ascii_letters)  # RFC 9110 §5.6.2


@dataclass(frozen=True, slots=True)
class _Place:
    """One place that a policy reads. `prefix` stands before the token there."""

    kind: Kind
    name: str
    prefix: str = ""
    base64url: bool = False


_Places = tuple[tuple[_Place, tuple[str, ...], bool], ...]


class _Conflict(Exception):
    """Ends reading inside this module."""


def read_credentials(handshake: Handshake, policy: WebSocketPolicy) -> tuple[Credential, ...] | CredentialConflict:
    """Every credential that `policy` looks for and `handshake` carries.

    An empty cookie, parameter or header field is none: applications log out by emptying them.
    """
    found = []
    try:
        for place, providers, forward in _places(policy):
            reader = _READERS.get(place.kind)
            value = reader(handshake, place) if reader is not None else None
            if value is not None:
                token = _token(place, value)
                offered = value if place.kind is Kind.SUBPROTOCOL else None
                found.append(Credential(place.kind, place.name, providers, forward, token, offered))
        for name in policy.spec.session.watched_cookies:  # no credential of ours, but the application's
            _read_cookie(handshake, _Place(Kind.COOKIE, name))
    except _Conflict as conflict:
        return CredentialConflict(str(conflict))
    return tuple(found)


def first_message_places(policy: WebSocketPolicy) -> Iterator[tuple[str, tuple[str, ...], bool]]:
    """Where `policy` looks in a first message: the dotted keys, the providers that read there, and `forward`."""
    for place, providers, forward in _places(policy):
        if place.kind is Kind.FIRST_MESSAGE:
            yield place.name, providers, forward


def readers(policy: WebSocketPolicy, credential: Credential) -> tuple[JwtProvider | IntrospectionProvider, ...]:
    """The providers of `policy` that look where `credential` was found, whichever policy it was read for."""
    names = {
        name
        for place, providers, _ in _places(policy)
        if (place.kind, place.name) == (credential.kind, credential.name)
        for name in providers
    }
    return tuple(provider for provider in policy.spec.providers if provider.name in names)


def cookie_credential(policy: WebSocketPolicy, name: str, value: str) -> Credential | None:
    """The cookie `name` as `read_credentials` would find it with this value; None where no provider reads it."""
    for place, providers, forward in _places(policy):
        if (place.kind, place.name) == (Kind.COOKIE, name):
            return Credential(place.kind, name, providers, forward, value)
    return None


def erase(head: RequestHead, credentials: Iterable[Credential]) -> RequestHead:
    """`head` less the credentials that are not to be forwarded; whatever else it says keeps every byte."""
    hidden = [credential for credential in credentials if not credential.forward]
    if not hidden:
        return head
    target, headers = head.target, head.headers
    if names := _names(hidden, Kind.COOKIE):
        headers = cookies.erase(headers, names)
    if names := _names(hidden, Kind.PARAM):
        target = query.erase(target, names)
    if names := _names(hidden, Kind.HEADER):
        gone = {folded(name.encode("ascii")) for name in names}
        headers = Headers(tuple((key, value) for key, value in headers.raw if folded(key) not in gone))
    if offered := {item.offered.encode("latin-1") for item in hidden if item.offered is not None}:
        headers = without_offers(headers, offered)
    return replace(head, target=target, headers=headers)


def _names(credentials: Iterable[Credential], kind: Kind) -> frozenset[str]:
    return frozenset(credential.name for credential in credentials if credential.kind is kind)


def without_offers(headers: Headers, offered: set[bytes]) -> Headers:
    """`headers` less these offered subprotocols; the rest of the list keeps every byte."""
    return Headers(tuple(_without_offers(headers, offered)))


def _without_offers(headers: Headers, offered: set[bytes]) -> Iterator[tuple[bytes, bytes]]:
    for key, value in headers.raw:
        if key.lower() != b"sec-websocket-protocol":
            yield key, value
            continue
        items = value.split(b",")
        kept = [item for item in items if item.strip(b" \t") not in offered]
        if len(kept) == len(items):
            yield key, value
        elif rest := b",".join(kept).strip(b" \t"):
            yield key, rest


_KNOWN: dict[int, _Places] = {}
"""By the policy's identity: versions of a policy share their hash, and comparing two takes longer than a request."""


def _places(policy: WebSocketPolicy) -> _Places:
    """Each place once, with the providers that read it, and whether all of them let the backend see it."""
    found = _KNOWN.get(id(policy))
    if found is None:
        found = _KNOWN[id(policy)] = _read_places(policy)
        weakref.finalize(policy, _KNOWN.pop, id(policy)).atexit = False  # a policy that was replaced is kept by nobody
    return found


def _read_places(policy: WebSocketPolicy) -> _Places:
    names: dict[_Place, list[str]] = {}
    hidden: set[_Place] = set()
    for provider in policy.spec.providers:
        for place, forward in _sources(provider):
            readers = names.setdefault(place, [])
            if provider.name not in readers:
                readers.append(provider.name)
            if not forward:
                hidden.add(place)
    return tuple((place, tuple(readers), place not in hidden) for place, readers in names.items())


def _sources(provider: JwtProvider | IntrospectionProvider) -> Iterator[tuple[_Place, bool]]:
    source = provider.extract_from
    for cookie in source.cookies:
        yield _Place(Kind.COOKIE, cookie.name), cookie.forward
    for header in source.headers:
        yield _Place(Kind.HEADER, header.name.lower(), header.value_prefix.lower()), header.forward
    for param in source.params:
        yield _Place(Kind.PARAM, param.name), param.forward
    for offer in source.subprotocols:
        encoded = offer.encoding is Encoding.BASE64URL
        yield _Place(Kind.SUBPROTOCOL, offer.prefix, offer.prefix, encoded), offer.forward
    if source.first_message is not None:
        yield _Place(Kind.FIRST_MESSAGE, source.first_message.json_path), source.first_message.forward


def _token(place: _Place, value: str) -> str:
    token = value[len(place.prefix.rstrip(" \t")) :].strip(" \t")
    if not place.base64url:
        return token
    try:
        return base64url.decode(token).decode("ascii")
    except ValueError:
        return ""


def _read_cookie(handshake: Handshake, place: _Place) -> str | None:
    return _only(cookies.values(handshake.head.headers, place.name), place) or None


def _read_param(handshake: Handshake, place: _Place) -> str | None:
    return _only(query.values(handshake.head.query, place.name), place) or None


def _read_header(handshake: Handshake, place: _Place) -> str | None:
    # CGI and WSGI backends read X_Token as X-Token: to them the two spellings are one field.
    name = folded(place.name.encode("ascii"))
    values = [value.decode("latin-1") for key, value in handshake.head.headers.raw if folded(key) == name]
    value = _only(values, place)
    return value if value and _has_prefix(value, place.prefix) else None


def _read_subprotocol(handshake: Handshake, place: _Place) -> str | None:
    prefix = place.prefix.lower()  # without case, lest a backend know a token that the guard did not
    return _only([offer for offer in handshake.subprotocols if offer.lower().startswith(prefix)], place)


_READERS = {
    Kind.COOKIE: _read_cookie,
    Kind.HEADER: _read_header,
    Kind.PARAM: _read_param,
    Kind.SUBPROTOCOL: _read_subprotocol,
}


def _only(values: list[str], place: _Place) -> str | None:
    if len(set(values)) > 1:
        raise _Conflict(f"{place.kind.value}:{place.name} occurs {len(values)} times with different values")
    return values[0] if values else None


def _has_prefix(value: str, prefix: str) -> bool:
    """True for every value that some backend would read as this authentication scheme.

    Schemes are compared without case (RFC 9110 §11.1), and backends differ in what may follow them.
    """
    scheme = prefix.rstrip(" \t")
    if value[: len(scheme)].lower() != scheme.lower():
        return False
    return scheme == prefix or value[len(scheme) : len(scheme) + 1] not in _TOKEN_CHARACTERS
