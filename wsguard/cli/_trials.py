"""Runs policy tests: each request goes the guard's own way, with what the test says in place of the world outside."""

from __future__ import annotations

import json
import secrets
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from wsguard.cli._explanation import Explanation
from wsguard.cli._issuer import Issuer
from wsguard.cli._request import Url, handshake_to
from wsguard.cli._walk import Moment, Walk
from wsguard.identity.exchange import Exchange, Unanswered
from wsguard.identity.forward_auth import ForwardAuthorizer
from wsguard.identity.inquiry import Inquiry
from wsguard.identity.introspection import Introspector
from wsguard.identity.verifier import TokenVerifier
from wsguard.policy.effective import parse_ip
from wsguard.policy.forward_auth import Answer
from wsguard.policy.handshake_token import TokenKeys
from wsguard.policy.load_tests import REFERENCE
from wsguard.policy.model_policy_test import Expectation, PolicyTest, ServiceAnswer, Token, Trial, Verdict
from wsguard.policy.policy_set import PolicySet
from wsguard.protocol import base64url
from wsguard.protocol.http import Headers


class UnusableTrial(Exception):
    """A test that cannot be run: a sentence that says why, and the token's name where one is to blame."""

    def __init__(self, why: str, token: str | None = None) -> None:
        super().__init__(why)
        self.token = token


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one test. `differences` has a line for each expectation that was not met."""

    trial: Trial
    explanation: Explanation
    differences: tuple[str, ...]


class Trials:
    """The tests of one document, under `policies`. `now` is seconds since the epoch, unless the document says."""

    def __init__(self, test: PolicyTest, policies: PolicySet, now: float) -> None:
        """Raises UnusableTrial."""
        self._policies = policies
        self._moment = Moment(now if test.spec.now is None else test.spec.now)
        self._issuer = Issuer(policies)
        # Keys that have sealed no token: whatever a test writes in its place is none.
        self._token_keys: Mapping[str, TokenKeys] = defaultdict(lambda: TokenKeys(secrets.token_bytes(32)))
        self._tokens = {name: self._signed(name, token) for name, token in test.spec.tokens.items()}

    async def run(self, trial: Trial) -> Outcome:
        """Try one. Raises UnusableTrial."""
        request = trial.request
        peer = parse_ip(request.remote_ip)
        if peer is None:
            raise UnusableTrial(f"remoteIP must be an IP address, not {request.remote_ip}")
        try:
            url = Url.parse(self._with_tokens(request.url))
        except ValueError as error:
            raise UnusableTrial(f"url {error}") from None
        try:
            head = handshake_to(url, list(self._fields(trial)))
        except ValueError as error:
            raise UnusableTrial(str(error)) from None
        walk = Walk(
            self._policies,
            self._inquiry(trial),
            self._moment.now,
            token_keys=self._token_keys,
            is_token_given=request.handshake_token,
        )
        said = None if request.first_message is None else self._with_tokens(request.first_message).encode()
        explanation = await walk.explain(head, peer, tls=url.tls, first_message=said)
        return Outcome(trial, explanation, tuple(_differences(trial.expect, explanation)))

    def _signed(self, name: str, token: Token) -> str:
        try:
            return self._issuer.sign(token, self._moment.now)
        except (LookupError, TypeError) as error:  # the other: claims that no JWT has
            raise UnusableTrial(str(error.args[0]), name) from None

    def _fields(self, trial: Trial) -> Iterator[tuple[str, str]]:
        request = trial.request
        for name, value in request.headers.items():
            yield name, self._with_tokens(value)
        if request.origin is not None:
            yield "Origin", request.origin
        if request.cookies:
            pairs = (f"{name}={self._with_tokens(value)}" for name, value in request.cookies.items())
            yield "Cookie", "; ".join(pairs)

    def _with_tokens(self, text: str) -> str:
        def token(name: str, *, encoded: bool) -> str:
            return base64url.encode(self._tokens[name].encode()) if encoded else self._tokens[name]

        return REFERENCE.sub(lambda found: token(found["name"], encoded=found["encoding"] is not None), text)

    def _inquiry(self, trial: Trial) -> Inquiry:
        answers = trial.introspection
        told = None if answers is None else {self._with_tokens(token): answer for token, answer in answers.items()}

        def lines(_url: str, _certificates: bytes | None) -> Exchange:
            return _AsWritten(trial.forward_auth, told)

        files: Mapping[str, bytes] = defaultdict(bytes)  # secrets and certificates: nobody is really asked
        under = (self._policies, files, lines, self._moment, lambda: 0, lambda *_: None)
        tokens = TokenVerifier(self._issuer, self._issuer.local_keys, self._moment)
        return Inquiry(tokens, Introspector(*under), ForwardAuthorizer(*under))


@dataclass(frozen=True, slots=True)
class _AsWritten:
    """The way to services that answer so, or not at all: a form is a question of introspection."""

    forward_auth: ServiceAnswer | None
    introspection: Mapping[str, Mapping[str, Any]] | None

    async def exchange(
        self,
        method: Literal["GET", "POST"],
        fields: Sequence[tuple[str, str]],
        most: int,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        if form is not None:
            return self._introspected(form["token"])
        answer = self.forward_auth
        if answer is None:
            raise Unanswered("this test does not say what the service answers (forwardAuth)")
        raw = tuple((name.encode(), value.encode()) for name, value in answer.headers.items())
        return Answer(answer.status, Headers(raw), _body(answer.body))

    def _introspected(self, token: str) -> Answer:
        if self.introspection is None:
            raise Unanswered("this test does not say what the server answers (introspection)")
        return Answer(200, Headers(()), _body(self.introspection.get(token, {"active": False})))


def _body(value: object) -> bytes:
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


def _differences(expected: Expectation, found: Explanation) -> Iterator[str]:
    if found.result != expected.result.value:
        yield _said("result", expected.result.value, found.result)
    if expected.policy is not None and found.policy != expected.policy:
        yield _said("policy", expected.policy, found.policy)
    refusal, admission = found.refusal, found.admission
    for name, wanted, actual in (
        ("reason", expected.reason and expected.reason.token, refusal and refusal.reason),
        ("code", expected.code, refusal and refusal.code),
        ("status", expected.status, refusal and refusal.status),
        ("subject", expected.subject, admission and admission.subject),
        ("erased", _sorted(expected.erased), admission and _sorted(admission.erased)),
    ):
        if wanted is not None and wanted != actual:
            yield _said(name, wanted, actual)
    yield from _header_differences(expected, found)


def _sorted(sources: tuple[str, ...] | None) -> str | None:
    return None if sources is None else ", ".join(sorted(sources)) or "nothing"


def _header_differences(expected: Expectation, found: Explanation) -> Iterator[str]:
    if expected.result in (Verdict.REFUSED, Verdict.HTTP) or found.admission is None:
        return
    added = {name.lower(): value for name, _, value in (field.partition(": ") for field in found.admission.added)}
    for name, wanted in expected.added.items():
        actual = added.get(name.lower())
        if wanted != actual:
            yield _said(f"added {name}", wanted, actual)


def _said(what: str, expected: object, found: object) -> str:
    words = ["nothing" if value is None else str(value) for value in (expected, found)]
    return f"{what}: expected {words[0]}, found {words[1]}"
