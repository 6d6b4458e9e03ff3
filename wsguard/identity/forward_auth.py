"""The service that must approve of a handshake as well, such as the application's own "who am I"."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from wsguard.identity.asking import Asker, Known
from wsguard.identity.exchange import AskResult, Exchange, Lines, Unanswered
from wsguard.identity.introspection import Told
from wsguard.policy.decision import Refuse
from wsguard.policy.forward_auth import MAX_ANSWER, PROVIDER, Approval, Question, read_answer
from wsguard.policy.model import ForwardAuth
from wsguard.policy.policy_set import PolicySet
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.clock import Clock

_Outcome = Approval | Refuse


class ForwardAuthService:
    """The service of one policy."""

    def __init__(
        self, spec: ForwardAuth, line: Exchange, clock: Clock, epoch: Callable[[], int], on_asked: Told
    ) -> None:
        self._line = line
        self._clock = clock
        self._on_asked = on_asked
        self._asker: Asker[_Outcome] = Asker(clock, epoch, spec.max_concurrent)

    def recall(self, question: Question) -> Approval | None:
        """The yes of a short time ago, or None."""
        known = self._asker.recall(question.digest)
        return known if isinstance(known, Approval) else None

    async def ask(self, question: Question) -> _Outcome:
        """Yes or no; what is remembered does not count."""
        return await self._asker.ask(question.digest, lambda: self._ask(question))

    async def _ask(self, question: Question) -> Known[_Outcome]:
        started, asked_at = self._clock.monotonic(), self._clock.wall()
        outcome: _Outcome = Refuse(CloseReason.IDENTITY_UNAVAILABLE, "the question was given up")
        try:
            answer = await self._line.exchange("GET", question.fields, MAX_ANSWER)
            outcome = read_answer(question, answer, asked_at)
        except Unanswered as error:
            outcome = Refuse(CloseReason.IDENTITY_UNAVAILABLE, str(error))
        finally:
            self._on_asked(PROVIDER, _result(outcome), self._clock.monotonic() - started)
        if isinstance(outcome, Refuse):
            return Known(outcome, 0.0, 0)
        return Known(outcome, outcome.lasts, sum(len(value) for _, value in outcome.backend_headers))


class ForwardAuthorizer:
    """The services of one set of policies. `files` are the contents of the files that they name."""

    def __init__(
        self, policies: PolicySet, files: Mapping[str, bytes], lines: Lines, clock: Clock,
        epoch: Callable[[], int], on_asked: Told,
    ) -> None:  # fmt: skip
        self._services: dict[str, ForwardAuthService] = {}
        for policy in policies.policies:
            spec = policy.spec.forward_auth
            if spec is not None:
                line = lines(spec.url, None if spec.ca_file is None else files[spec.ca_file])
                self._services[policy.name] = ForwardAuthService(spec, line, clock, epoch, on_asked)

    def service(self, policy: str) -> ForwardAuthService | None:
        """The service of a policy by its name, or None."""
        return self._services.get(policy)


def _result(outcome: _Outcome) -> AskResult:
    if isinstance(outcome, Approval):
        return "yes"
    return "unavailable" if outcome.reason is CloseReason.IDENTITY_UNAVAILABLE else "no"
