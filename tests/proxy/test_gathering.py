"""Who is asked about a handshake, in which order, and who is not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.identity.parties import EFFECTIVE, approved, credential, handshake
from wsguard.policy.case import Case
from wsguard.policy.credentials import Credential
from wsguard.policy.decision import Admit, Refuse
from wsguard.policy.forward_auth import PROVIDER, Approval, Question
from wsguard.policy.judge import judge
from wsguard.policy.model import SubjectFrom, WebSocketPolicy
from wsguard.policy.policy_set import PolicySet
from wsguard.policy.tokens import TokenFact, TokenProblem
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy import gathering
from wsguard.sessions.denylist import DenyList
from wsguard.sessions.identity import Identity

NOW = 1_800_000_000.0
CLAIMS = {"exp": NOW + 60}
ANN = Identity("corp", "https://idp.example.test", "ann", "cookie:session", expires_at=NOW + 60, claims=CLAIMS)


def named(subject: str, issued_at: float = NOW) -> Approval:
    """A yes that names somebody."""
    who = Identity(PROVIDER, "http://127.0.0.1:3000", subject, PROVIDER, issued_at=issued_at)
    return Approval(who, ((b"X-User", subject.encode()),))


class Others:
    """A verifier and an approver whose answers the test sets, and which note who was asked."""

    def __init__(self) -> None:
        self.outcome: Identity | TokenProblem = ANN
        self.approval: Approval | Refuse = named("ann")
        self.remembered: Approval | None = None
        self.asked: list[str] = []

    def cached(self, policy: WebSocketPolicy, credentials: Sequence[Credential]) -> tuple[TokenFact, ...] | None:
        del policy, credentials
        return None

    async def gather(self, policy: WebSocketPolicy, credentials: Sequence[Credential]) -> tuple[TokenFact, ...]:
        del policy
        self.asked.append("tokens")
        return tuple(TokenFact(each, self.outcome) for each in credentials)

    def recall(self, question: Question) -> Approval | None:
        del question
        return self.remembered

    async def ask(self, question: Question) -> Approval | Refuse:
        del question
        self.asked.append("service")
        return self.approval


@pytest.fixture
def others() -> Others:
    return Others()


def case(*fields: tuple[str, str], credentials: tuple[Credential, ...] = ()) -> Case:
    policy = approved("http://127.0.0.1:3000/me", subject_from=SubjectFrom(json_path="id"))
    policies = PolicySet((policy,))
    return Case(
        handshake(*fields), EFFECTIVE, policy, policies, NOW, DenyList(), credentials=credentials,
    )  # fmt: skip


async def verdict(of: Case, others: Others) -> Admit | Refuse:
    assert of.policy is not None
    if not gathering.recall(of, of.policy, others, others):
        await gathering.ask(of, of.policy, others, others)
    return judge(of)


async def test_a_service_alone_admits_whom_it_names(others: Others) -> None:
    admit = await verdict(case(("Cookie", "sid=1")), others)
    assert isinstance(admit, Admit)
    assert admit.identity is not None
    assert (admit.identity.subject, admit.expires_at) == ("ann", None)
    assert admit.identity_headers == ((b"X-User", b"ann"),)
    assert others.asked == ["service"]


async def test_what_is_remembered_is_not_asked(others: Others) -> None:
    others.remembered = named("ann")
    assert isinstance(await verdict(case(("Cookie", "sid=1")), others), Admit)
    assert others.asked == []


async def test_of_somebody_who_was_logged_out_nothing_that_is_remembered_counts(others: Others) -> None:
    of = case(("Cookie", "sid=1"))
    others.remembered = named("ann", NOW - 5)
    of.deny_list.deny_subject(None, "ann", NOW - 1, NOW)
    assert isinstance(await verdict(of, others), Admit)
    assert others.asked == ["service"]
    others.approval = named("ann", NOW - 5)
    of.approval = None
    refusal = await verdict(of, others)
    assert isinstance(refusal, Refuse)
    assert refusal.reason is CloseReason.LOGGED_OUT


async def test_a_bad_credential_spares_the_service(others: Others) -> None:
    others.outcome = TokenProblem(CloseReason.CREDENTIAL_INVALID, "bad")
    refusal = await verdict(case(("Cookie", "sid=1"), credentials=(credential(),)), others)
    assert isinstance(refusal, Refuse)
    assert refusal.reason is CloseReason.CREDENTIAL_INVALID
    assert others.asked == ["tokens"]


async def test_the_token_is_who_it_is_and_the_service_must_agree(others: Others) -> None:
    of = case(("Cookie", "sid=1"), credentials=(credential(),))
    admit = await verdict(of, others)
    assert isinstance(admit, Admit)
    assert admit.identity == ANN
    assert admit.expires_at == NOW + 60
    others.approval = named("bob")
    refusal = await verdict(case(("Cookie", "sid=1"), credentials=(credential(),)), others)
    assert isinstance(refusal, Refuse)
    assert refusal.reason is CloseReason.CREDENTIAL_INVALID
    others.approval = Approval()
    assert isinstance(await verdict(case(("Cookie", "sid=1"), credentials=(credential(),)), others), Admit)


@pytest.mark.parametrize(
    "reason", [CloseReason.CREDENTIAL_MISSING, CloseReason.NOT_AUTHORIZED, CloseReason.IDENTITY_UNAVAILABLE]
)
async def test_its_no_is_a_no_whatever_the_token_says(others: Others, reason: CloseReason) -> None:
    others.approval = Refuse(reason, "no")
    refusal = await verdict(case(("Cookie", "sid=1"), credentials=(credential(),)), others)
    assert refusal == others.approval


async def test_a_handshake_that_no_question_can_be_made_of_is_refused(others: Others) -> None:
    of = case()
    assert of.policy is not None
    spec = of.policy.spec.model_copy(
        update={"forward_auth": approved("http://a/", headers_to_ext_auth=("x-t",)).spec.forward_auth}
    )
    of = case(("X-T", "1"), ("X_T", "2"))
    of.policy = of.policy and of.policy.model_copy(update={"spec": spec})
    refusal = await verdict(of, others)
    assert isinstance(refusal, Refuse)
    assert refusal.reason is CloseReason.CREDENTIAL_INVALID
    assert others.asked == []


async def test_where_nobody_can_ask_nobody_is_admitted() -> None:
    others, of = Others(), case(("Cookie", "sid=1"))
    assert of.policy is not None
    assert gathering.recall(of, of.policy, others, None)
    await gathering.ask(of, of.policy, others, None)
    refusal = judge(of)
    assert isinstance(refusal, Refuse)
    assert refusal.reason is CloseReason.IDENTITY_UNAVAILABLE
