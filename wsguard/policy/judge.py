"""The verdict on a handshake, in two steps: before any credential is looked at, and after the facts are in.

EARLY and LATE are the order of the checks, and `wsguard explain` prints the same tables. The order is part of the
contract: a foreign page learns nothing but that it is foreign.
"""

from __future__ import annotations

from collections.abc import Sequence

from wsguard.policy.case import Case, Check, Passed
from wsguard.policy.checks import (
    check_authorization,
    check_credentials,
    check_deny_list,
    check_forward_auth,
    check_handshake_token,
    check_host,
    check_identity,
    check_origin,
    check_policy,
    check_subprotocols,
    check_token_binding,
)
from wsguard.policy.credentials import CredentialConflict
from wsguard.policy.decision import Admit, Decision, Refuse
from wsguard.policy.forward_auth import Approval
from wsguard.policy.identity_headers import identity_headers
from wsguard.policy.model import Enforcement
from wsguard.sessions.identity import Identity, earliest_end

PLACE: tuple[tuple[str, Check], ...] = (("origin", check_origin), ("host", check_host), ("policy", check_policy))
"""From where, and to where: what of EARLY is asked of who shows no handshake token, being in or asking for one."""
EARLY: tuple[tuple[str, Check], ...] = (
    *PLACE,
    ("handshake-token", check_handshake_token),
    ("subprotocol", check_subprotocols),
)
LATE: tuple[tuple[str, Check], ...] = (
    ("token-binding", check_token_binding),
    ("credentials", check_credentials),
    ("forward-auth", check_forward_auth),
    ("identity", check_identity),
    ("deny-list", check_deny_list),
    ("authorization", check_authorization),
)
AGAIN = tuple(row for row in LATE if row[1] is not check_deny_list)
"""LATE for a connection that is already in."""
RENEWAL = tuple(row for row in LATE if row[1] is not check_authorization)
"""LATE for a credential that is to renew connections: of each of them the rules are asked for itself."""


def judge_early(case: Case, checks: Sequence[tuple[str, Check]] | None = None) -> Refuse | None:
    """The first of `checks` (None: EARLY) that refuses, or None."""
    refusal, _ = _walk(EARLY if checks is None else checks, case)
    return refusal


def judge(case: Case, checks: Sequence[tuple[str, Check]] | None = None) -> Decision:
    """The verdict of `checks` (None: LATE), once the early checks have passed and the facts are in."""
    refusal, warning = _walk(LATE if checks is None else checks, case)
    if refusal is not None:
        return refusal
    identities = case.identities
    identity = identities[0] if identities else None
    headers = (*_identity_headers(case, identity), *_approved_headers(case))
    return Admit(identity, headers, earliest_end(identities), warning, tuple(identities[1:]))


def is_only_audited(case: Case) -> bool:
    """Whether a refusal of `case` is to be recorded and the handshake let through (`enforcement: Audit`).

    Never where the Host check or the reading of the handshake itself says no, whichever check spoke first.
    """
    if case.policy is None or case.policy.spec.enforcement is not Enforcement.AUDIT:
        return False
    return isinstance(check_host(case), Passed) and not isinstance(case.credentials, CredentialConflict)


def _walk(checks: Sequence[tuple[str, Check]], case: Case) -> tuple[Refuse | None, str]:
    """The first refusal, or None and what the checks that passed have to say for the log."""
    warnings = []
    for _, check in checks:
        result = check(case)
        if isinstance(result, Refuse):
            return result, ""
        if result.warning:
            warnings.append(result.warning)
    return None, "; ".join(warnings)


def _identity_headers(case: Case, identity: Identity | None) -> tuple[tuple[bytes, bytes], ...]:
    providers = case.policy.spec.providers if case.policy is not None and identity is not None else ()
    for provider in providers:
        if identity is not None and provider.name == identity.provider:
            return identity_headers(provider, identity)
    return ()


def _approved_headers(case: Case) -> tuple[tuple[bytes, bytes], ...]:
    return case.approval.backend_headers if isinstance(case.approval, Approval) else ()
