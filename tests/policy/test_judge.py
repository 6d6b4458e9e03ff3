"""The verdict on a handshake: which check speaks, in which order, and what an admission carries."""

from __future__ import annotations

import itertools

from tests.policy.cases import DENY_ALL, FOREIGN, HOST, NOW, SAME, case, facts, identity, policy, reason, verdict
from wsguard.policy.case import Case, Passed
from wsguard.policy.checks import check_deny_list
from wsguard.policy.credentials import CredentialConflict
from wsguard.policy.decision import Admit, Refuse
from wsguard.policy.judge import AGAIN, EARLY, LATE, is_only_audited
from wsguard.policy.model import (
    Enforcement,
)
from wsguard.policy.tokens import TokenProblem
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.denylist import DenyList


def test_a_foreign_page_learns_nothing_but_that_it_is_foreign() -> None:
    """Whatever else is wrong, and also where no policy speaks."""
    logged_out = DenyList()
    logged_out.deny_subject(None, "ann", NOW, NOW)
    for host, speaks, outcome in itertools.product(
        (HOST, "rebound.test"),
        (None, policy(), policy(authorization=DENY_ALL)),
        ((), facts(identity()), facts(TokenProblem(CloseReason.CREDENTIAL_EXPIRED, "x"))),
    ):
        judged = case(FOREIGN, host=host, speaks=speaks, facts=outcome, deny_list=logged_out)
        assert reason(judged) is CloseReason.ORIGIN_DENIED


def test_the_order_of_the_checks_is_the_contracts() -> None:
    """Everything is wrong; what is put right uncovers the next."""
    logged_out = DenyList()
    logged_out.deny_subject(None, "ann", NOW, NOW)
    strict = policy(authorization=DENY_ALL)
    two = facts(identity(), identity("bob"))
    steps: list[tuple[Case, CloseReason]] = [
        (case(FOREIGN, host="evil.example.test", deny_list=logged_out), CloseReason.ORIGIN_DENIED),
        (case(None, host="evil.example.test", deny_list=logged_out), CloseReason.HOST_DENIED),
        (case(None, host="localhost", deny_list=logged_out), CloseReason.NO_POLICY),
        (case(speaks=strict, credentials=CredentialConflict("two")), CloseReason.CREDENTIAL_INVALID),
        (
            case(speaks=strict, facts=facts(TokenProblem(CloseReason.CREDENTIAL_EXPIRED, "x"))),
            CloseReason.CREDENTIAL_EXPIRED,
        ),
        (case(speaks=strict, deny_list=logged_out), CloseReason.CREDENTIAL_MISSING),
        (case(speaks=strict, deny_list=logged_out, facts=two), CloseReason.CREDENTIAL_INVALID),
        (case(speaks=strict, deny_list=logged_out, facts=facts(identity())), CloseReason.LOGGED_OUT),
        (case(speaks=strict, facts=facts(identity())), CloseReason.NOT_AUTHORIZED),
    ]
    assert [reason(judged) for judged, _ in steps] == [expected for _, expected in steps]
    assert reason(case(speaks=policy(), facts=facts(identity()))) is None
    names = [name for name, _ in (*EARLY, *LATE)]
    assert names[:4] == ["origin", "host", "policy", "handshake-token"]
    assert names[4:7] == ["subprotocol", "token-binding", "credentials"]


def test_an_admission_says_who_and_until_when() -> None:
    """The earliest end of all that was shown."""
    ann = identity(expires_at=NOW + 600.0)
    same = identity(expires_at=NOW + 60.0, sid="another session")
    decision = verdict(case(speaks=policy(), facts=facts(ann, same)))
    assert decision == Admit(ann, ((b"X-User", b"ann"),), NOW + 60.0, others=(same,))


def test_a_connection_that_is_in_is_not_asked_for_the_deny_list() -> None:
    assert check_deny_list not in [check for _, check in AGAIN]
    assert [row for row in LATE if row[1] is not check_deny_list] == list(AGAIN)


def test_audit_lets_a_refusal_through_but_never_a_wrong_host_or_an_unreadable_request() -> None:
    """Whichever check spoke first."""
    audit = policy(enforcement=Enforcement.AUDIT)
    for origin in (SAME, FOREIGN, None):
        assert is_only_audited(case(origin, speaks=audit))
        assert not is_only_audited(case(origin, speaks=policy()))
        assert not is_only_audited(case(origin, speaks=None))
        assert not is_only_audited(case(origin, speaks=audit, host="rebound.test"))
        assert not is_only_audited(case(origin, speaks=audit, credentials=CredentialConflict("two")))


def test_every_check_says_something_without_a_secret() -> None:
    """For `explain` and the log, whatever it decides."""
    for judged in (
        case(speaks=policy(), facts=facts(identity())),
        case(FOREIGN, host="rebound.test"),
        case(
            None, speaks=policy(authorization=DENY_ALL), facts=facts(TokenProblem(CloseReason.CREDENTIAL_INVALID, "x"))
        ),
    ):
        for _, check in (*EARLY, *LATE):
            said = check(judged)
            assert isinstance(said, Passed | Refuse)
            assert said.detail
            assert "s3cret" not in said.detail
