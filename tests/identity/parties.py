"""The two that ask others about a credential, in one form: so that one set of tests holds for both."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import aiohttp

from tests.identity.asked import Reply, reply
from tests.identity.key_server import HandClock
from wsguard.identity.exchange import lines
from wsguard.identity.forward_auth import ForwardAuthorizer
from wsguard.identity.introspection import Introspector
from wsguard.policy.credentials import Credential, Kind
from wsguard.policy.decision import Refuse
from wsguard.policy.effective import Effective
from wsguard.policy.forward_auth import Approval, Question, question_for
from wsguard.policy.model import (
    ExtractFrom,
    ForwardAuth,
    Introspection,
    IntrospectionProvider,
    Metadata,
    PolicySpec,
    Session,
    SubjectFrom,
    WebSocketPolicy,
)
from wsguard.policy.policy_set import PolicySet
from wsguard.policy.tokens import TokenProblem
from wsguard.protocol.authority import Authority
from wsguard.protocol.handshake import Handshake
from wsguard.protocol.http import Headers, RequestHead
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.identity import Identity

SECRET_FILE = "client.secret"
FILES = {SECRET_FILE: b"s3cret\n"}


@dataclass
class World:
    """What a party is made with, and what it has told the metrics."""

    session: aiohttp.ClientSession
    clock: HandClock = field(default_factory=HandClock)
    logouts: int = 0
    told: list[tuple[str, str]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES))

    def asking(self) -> tuple[Any, ...]:
        """The last four arguments of Introspector and ForwardAuthorizer."""
        told = lambda provider, result, _seconds: self.told.append((provider, result))  # noqa: E731
        return lines(self.session), self.clock, lambda: self.logouts, told


def handshake(*fields: tuple[str, str], target: str = "/ws?q=1") -> Handshake:
    """A handshake with these header fields."""
    raw = (("Host", "app.example.test"), *fields)
    headers = Headers(tuple((name.encode(), value.encode()) for name, value in raw))
    head = RequestHead("GET", target, (1, 1), headers)
    return Handshake(head, head.raw_path, b"", None, (), None)


EFFECTIVE = Effective(ip_address("192.0.2.7"), "https", Authority("app.example.test", None), False)


def policy(name: str = "app", **spec: Any) -> WebSocketPolicy:
    """A policy of this spec."""
    return WebSocketPolicy(metadata=Metadata(name=name), spec=PolicySpec(**spec))


def opaque(endpoint: str, **fields: Any) -> IntrospectionProvider:
    """An introspection provider that reads the cookie `session`."""
    sources = ExtractFrom.model_validate({"cookies": ["session"]})
    return IntrospectionProvider(
        name=fields.pop("name", "opaque"), endpoint=endpoint, client_id="guard", client_secret_file=SECRET_FILE,
        extract_from=sources, **fields,
    )  # fmt: skip


def introspected(endpoint: str, session: Session | None = None, **fields: Any) -> WebSocketPolicy:
    """A policy with one introspection provider."""
    return policy(introspection=Introspection(providers=(opaque(endpoint, **fields),)), session=session or Session())


def approved(url: str, session: Session | None = None, **fields: Any) -> WebSocketPolicy:
    """A policy with a forwardAuth service that is sent the cookie."""
    fields = {"headers_to_ext_auth": ("cookie",), "subject_from": SubjectFrom(json_path="user.id"), **fields}
    return policy(forward_auth=ForwardAuth(url=url, **fields), session=session or Session())


def credential(token: str = "t0ken", providers: tuple[str, ...] = ("opaque",)) -> Credential:
    """A token in the cookie `session`."""
    return Credential(Kind.COOKIE, "session", providers, True, token)


def question(under: WebSocketPolicy, *fields: tuple[str, str], target: str = "/ws?q=1") -> Question:
    """What a handshake with these fields is asked about."""
    put = question_for(under, handshake(*fields, target=target), EFFECTIVE, frozenset())
    assert isinstance(put, Question)
    return put


Ask = Callable[[str], Coroutine[Any, Any, str]]


@dataclass(frozen=True)
class Party:
    """`ask` says yes, no or unavailable of the session that is named; `yes` and `no` are what the service answers."""

    ask: Ask
    yes: Reply
    no: Reply


def introspection_party(url: str, world: World, **fields: Any) -> Party:
    """Introspection."""
    under = introspected(url, **fields)
    introspector = Introspector(PolicySet((under,)), world.files, *world.asking())

    async def ask(name: str) -> str:
        presented = credential(name)
        return word(introspector.recall(under, presented) or await introspector.ask(under, presented))

    return Party(ask, reply({"active": True, "sub": "ann"}), reply({"active": False}))


def forward_auth_party(url: str, world: World, **fields: Any) -> Party:
    """forwardAuth."""
    under = approved(url, **fields)
    authorizer = ForwardAuthorizer(PolicySet((under,)), world.files, *world.asking())
    service = authorizer.service("app")
    assert service is not None

    async def ask(name: str) -> str:
        put = question(under, ("Cookie", f"session={name}"))
        return word(service.recall(put) or await service.ask(put))

    return Party(ask, reply({"user": {"id": "ann"}}), reply(status=401))


def word(outcome: Identity | TokenProblem | Approval | Refuse) -> str:
    """yes, no or unavailable."""
    if isinstance(outcome, (Identity, Approval)):
        return "yes"
    return "unavailable" if outcome.reason is CloseReason.IDENTITY_UNAVAILABLE else "no"
