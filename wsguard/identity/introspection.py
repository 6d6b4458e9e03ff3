"""Opaque tokens: the server that issued one is asked whom it speaks for (RFC 7662).

A yes is remembered under the token's digest, never longer than the answer's `exp` and `cacheDuration`. Whatever else
happens is `identity-unavailable` or a no, never an admission.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from urllib.parse import quote_plus

from wsguard.identity.asking import Asker, Known
from wsguard.identity.exchange import AskResult, Exchange, Lines, Unanswered
from wsguard.policy.credentials import Credential, Kind
from wsguard.policy.introspection import MAX_ANSWER, askable, read_answer
from wsguard.policy.model import IntrospectionProvider, WebSocketPolicy
from wsguard.policy.policy_set import PolicySet
from wsguard.policy.tokens import TokenProblem, still_valid
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.clock import Clock
from wsguard.sessions.identity import Identity, cookie_digest

MAX_CONCURRENT = 64
"""Questions to one server at once."""

Told = Callable[[str, AskResult, float], None]
"""Is told the provider, the result and the seconds of each request."""

_Outcome = Identity | TokenProblem


class IntrospectionService:
    """One provider of one policy."""

    def __init__(
        self, provider: IntrospectionProvider, clock_skew: float, secret: bytes, line: Exchange, clock: Clock,
        epoch: Callable[[], int], on_asked: Told,
    ) -> None:  # fmt: skip
        self._provider = provider
        self._clock_skew = clock_skew
        self._line = line
        self._clock = clock
        self._on_asked = on_asked
        self._asker: Asker[_Outcome] = Asker(clock, epoch, MAX_CONCURRENT)
        # RFC 6749 §2.3.1: both are form-encoded first, so that a colon in the name stays one.
        pair = f"{quote_plus(provider.client_id)}:{quote_plus(secret.strip())}"
        self._fields = (
            ("Accept", "application/json"),
            ("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"),
        )

    def recall(self, credential: Credential) -> Identity | None:
        """Whom a token speaks for that was asked about a short time ago."""
        known = self._asker.recall(digest_of(credential))
        if isinstance(known, Identity) and still_valid(known, self._clock.wall(), self._clock_skew):
            return _found_at(known, credential)
        return None

    async def ask(self, credential: Credential) -> _Outcome:
        """Whom a token speaks for; what is remembered does not count."""
        if problem := askable(credential.token):
            return problem
        outcome = await self._asker.ask(digest_of(credential), lambda: self._question(credential.token))
        return _found_at(outcome, credential) if isinstance(outcome, Identity) else outcome

    async def _question(self, token: str) -> Known[_Outcome]:
        started, size = self._clock.monotonic(), 0
        outcome: _Outcome = self._unavailable("the question was given up")
        try:
            answer = await self._line.exchange("POST", self._fields, MAX_ANSWER, {"token": token})
            if answer.status != HTTPStatus.OK:
                outcome = self._unavailable(f"it answered {answer.status}, 200 is needed")
            elif answer.body is None:
                outcome = self._unavailable(f"its answer is longer than {MAX_ANSWER} bytes")
            else:
                size = len(answer.body)
                outcome = read_answer(answer.body, self._provider, self._clock.wall(), self._clock_skew)
        except Unanswered as error:
            outcome = self._unavailable(str(error))
        finally:
            self._on_asked(self._provider.name, _result(outcome), self._clock.monotonic() - started)
        return Known(outcome, self._lasts(outcome), size)

    def _lasts(self, outcome: _Outcome) -> float:
        if isinstance(outcome, TokenProblem):
            return 0.0
        left = self._provider.cache_duration
        return left if outcome.expires_at is None else min(left, outcome.expires_at - self._clock.wall())

    def _unavailable(self, why: str) -> TokenProblem:
        return TokenProblem(CloseReason.IDENTITY_UNAVAILABLE, f"provider {self._provider.name}: {why}")


class Introspector:
    """The introspection providers of one set of policies. `files` are the contents of the files that they name."""

    def __init__(
        self, policies: PolicySet, files: Mapping[str, bytes], lines: Lines, clock: Clock,
        epoch: Callable[[], int], on_asked: Told,
    ) -> None:  # fmt: skip
        self._services: dict[tuple[str, str], IntrospectionService] = {}
        for policy in policies.policies:
            for provider in policy.spec.introspection.providers if policy.spec.introspection else ():
                line = lines(provider.endpoint, None if provider.ca_file is None else files[provider.ca_file])
                self._services[policy.name, provider.name] = IntrospectionService(
                    provider, policy.spec.session.clock_skew, files[provider.client_secret_file], line, clock,
                    epoch, on_asked,
                )  # fmt: skip

    def service(self, policy: str, provider: str) -> IntrospectionService | None:
        """The provider of a policy by both names, or None."""
        return self._services.get((policy, provider))

    def recall(self, policy: WebSocketPolicy, credential: Credential) -> Identity | None:
        """Whom `credential` speaks for, where that needs no question."""
        return next((known for each in self._readers(policy, credential) if (known := each.recall(credential))), None)

    async def ask(self, policy: WebSocketPolicy, credential: Credential) -> _Outcome:
        """Whom `credential` speaks for: the first provider that knows it decides, in the policy's order."""
        problems: list[TokenProblem] = []
        for service in self._readers(policy, credential):
            outcome = service.recall(credential) or await service.ask(credential)
            if isinstance(outcome, Identity):
                return outcome
            problems.append(outcome)
        # One that could not say leaves open whether it would have vouched.
        open_ones = [each for each in problems if each.reason is CloseReason.IDENTITY_UNAVAILABLE]
        return (open_ones or problems)[0]

    def _readers(self, policy: WebSocketPolicy, credential: Credential) -> list[IntrospectionService]:
        named = ((policy.name, provider) for provider in credential.providers)
        return [self._services[key] for key in named if key in self._services]


def digest_of(credential: Credential) -> bytes:
    """What a token is remembered by."""
    return hashlib.sha256(credential.token.encode("utf-8", "surrogatepass")).digest()


def _found_at(identity: Identity, credential: Credential) -> Identity:
    cookie = cookie_digest(credential.token) if credential.kind is Kind.COOKIE else None
    if (identity.source, identity.cookie) == (credential.source, cookie):
        return identity
    return replace(identity, source=credential.source, cookie=cookie)


def _result(outcome: _Outcome) -> AskResult:
    if isinstance(outcome, Identity):
        return "yes"
    return "unavailable" if outcome.reason is CloseReason.IDENTITY_UNAVAILABLE else "no"
