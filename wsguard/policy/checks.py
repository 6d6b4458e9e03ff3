"""What is asked of a handshake, check by check: each is one function that returns `Passed` or `Refuse`.

None knows of another; `policy.judge` has their order.
"""

from __future__ import annotations

from wsguard.policy.authorization import Caller, authorize
from wsguard.policy.case import Case, Passed
from wsguard.policy.credentials import CredentialConflict
from wsguard.policy.decision import Refuse
from wsguard.policy.forward_auth import PROVIDER
from wsguard.policy.handshake_token import TokenContent, binding_problem, token_problem
from wsguard.policy.hosts import HostPattern, host_allowed
from wsguard.policy.model import OriginSpec, WebSocketPolicy
from wsguard.policy.origin import Origin, allows, is_missing_denied
from wsguard.policy.page import page_of
from wsguard.policy.policy_set import PolicySet
from wsguard.policy.subprotocols import plain_offers
from wsguard.policy.tokens import TokenProblem, still_valid
from wsguard.protocol.authority import Authority
from wsguard.protocol.http import SAFE_METHODS
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.connection import Stream
from wsguard.sessions.identity import Identity

_WITHOUT_POLICY = OriginSpec()


def check_origin(case: Case) -> Passed | Refuse:
    """RFC 6455 §10.2; where no policy matches, as if SameHost were all that is allowed."""
    spec = case.policy.spec.origin if case.policy else _WITHOUT_POLICY
    raw = case.handshake.origin
    if raw is None and case.stream is not Stream.WEB_SOCKET:
        return _check_unnamed(case, spec)
    if raw is None:
        if is_missing_denied(spec.missing, case.handshake.head, case.effective.certificate):
            return Refuse(CloseReason.ORIGIN_DENIED, f"no Origin, and origin.missing is {spec.missing.value}")
        return Passed("no Origin, as programs that are no browser send none")
    if allows(spec.allow_origins, Origin.parse(raw), case.effective):
        return Passed(f"{_text(raw)} is allowed")
    allowed = ", ".join(str(pattern) for pattern in spec.allow_origins)
    return Refuse(CloseReason.ORIGIN_DENIED, f"{_text(raw)} is none of: {allowed}")


def _check_unnamed(case: Case, spec: OriginSpec) -> Passed | Refuse:
    """A request without an Origin: pages send one with all but GET and HEAD, and browsers say whose page it is."""
    head = case.handshake.head
    if head.method not in SAFE_METHODS:
        return Refuse(CloseReason.ORIGIN_DENIED, f"no Origin, which every page sends with a {head.method}")
    page = page_of(head, case.effective)
    if page is not None:
        if allows(spec.allow_origins, page, case.effective):
            return Passed("Sec-Fetch-Site: same-origin stands for an Origin that is allowed")
        return Refuse(CloseReason.ORIGIN_DENIED, "a page of this host, and SameHost is not allowed")
    if is_missing_denied(spec.missing, head, case.effective.certificate):
        return Refuse(CloseReason.ORIGIN_DENIED, f"no Origin, and origin.missing is {spec.missing.value}")
    return Passed("no Origin, as programs that are no browser send none")


def answers_to(authority: Authority, policy: WebSocketPolicy | None, policies: PolicySet) -> bool:
    """Whether the guard answers to a Host, for what `policy` speaks for (None: for what no policy does)."""
    listener = policies.guard.listener
    return host_allowed(authority, _hostnames(policy, policies), listener.allowed_hosts, listener.address.is_loopback)


def _hostnames(policy: WebSocketPolicy | None, policies: PolicySet) -> tuple[HostPattern, ...]:
    return policy.spec.match.hostnames if policy else policies.hostnames


def check_host(case: Case) -> Passed | Refuse:
    """DNS rebinding: a name that nobody wrote down may be anyone's."""
    host = case.effective.authority.host
    if answers_to(case.effective.authority, case.policy, case.policies):
        return Passed(f"{host} is answered to")
    if _hostnames(case.policy, case.policies) or case.policies.guard.listener.allowed_hosts:
        return Refuse(CloseReason.HOST_DENIED, f"{host} is neither in match.hostnames nor in listener.allowedHosts")
    return Refuse(CloseReason.HOST_DENIED, f"{host} is no name of this machine; list it in listener.allowedHosts")


def check_policy(case: Case) -> Passed | Refuse:
    """Exactly one policy speaks for a handshake."""
    if case.policy is None:
        where = f"{case.effective.authority.host}{case.handshake.path}"
        return Refuse(CloseReason.NO_POLICY, f"no policy matches {where}")
    if case.stream not in case.policy.spec.streams:
        names = ", ".join(stream.value for stream in case.policy.spec.streams)
        return Refuse(CloseReason.NO_POLICY, f"policy {case.policy.name} matches, and is for {names}")
    return Passed(f"policy {case.policy.name} matches")


def check_handshake_token(case: Case) -> Passed | Refuse:
    """A page that cannot read our answers has no token. Looked at before any credential, as its Origin is."""
    spec = case.policy.spec.origin.handshake_token if case.policy else None
    if isinstance(case.handshake_token, Refuse):
        return case.handshake_token
    if case.handshake_token is not None:
        problem = token_problem(case.handshake_token, case)
        return Refuse(CloseReason.HANDSHAKE_TOKEN_INVALID, problem) if problem else Passed("good, and for this page")
    if spec is not None and spec.required:
        return Refuse(CloseReason.HANDSHAKE_TOKEN_INVALID, "there is none, and it is required")
    return Passed("none was sent, and none is required")


def check_token_binding(case: Case) -> Passed | Refuse:
    """A token is for who shows the credential that it was given for, and says so before that credential is judged.

    Else a page with a token of its own session would learn whether its visitor is logged in.
    """
    if not isinstance(case.handshake_token, TokenContent):
        return Passed("no token, so it is bound to nothing")
    problem = binding_problem(case.handshake_token, case)
    return Refuse(CloseReason.HANDSHAKE_TOKEN_INVALID, problem) if problem else Passed("given for what is shown here")


def check_subprotocols(case: Case) -> Passed | Refuse:
    """`limits.subprotocols`: a client that offers any must offer one that is listed; a credential is no offer."""
    listed = case.policy.spec.limits.subprotocols if case.policy else ()
    offered = plain_offers(case.handshake, case.policy) if listed else ()
    if offered and not set(offered) & set(listed):
        return Refuse(CloseReason.SUBPROTOCOL_DENIED, f"none that is offered is listed: {', '.join(listed)}")
    return Passed("listed" if offered else "none is offered" if listed else "any is allowed")


def check_credentials(case: Case) -> Passed | Refuse:
    """Every credential that is shown must be good; one that is demanded must be shown."""
    if isinstance(case.credentials, CredentialConflict):
        return Refuse(CloseReason.CREDENTIAL_INVALID, case.credentials.detail)
    for fact in case.facts:
        if isinstance(fact.outcome, TokenProblem):
            return Refuse(fact.outcome.reason, f"{fact.credential.source}: {fact.outcome.detail}")
    for fact in case.facts:
        if isinstance(fact.outcome, Identity) and not still_valid(fact.outcome, case.now, case.clock_skew):
            return Refuse(CloseReason.CREDENTIAL_EXPIRED, f"{fact.credential.source}: it expired while being judged")
    if case.facts:
        return Passed("good: " + ", ".join(fact.credential.source for fact in case.facts))
    spec = case.policy.spec if case.policy else None
    demands = [part for part in (spec.jwt, spec.introspection) if part is not None] if spec else []
    if not demands:
        return Passed("none is demanded")
    if all(part.optional for part in demands):
        return Passed("none was sent, and optional allows that")
    return Refuse(CloseReason.CREDENTIAL_MISSING, "no credential where the policy looks for one")


def check_forward_auth(case: Case) -> Passed | Refuse:
    """Where another service has a say, only its yes is a yes."""
    if case.policy is None or case.policy.spec.forward_auth is None:
        return Passed("nobody else is asked")
    if isinstance(case.approval, Refuse):
        return case.approval
    if case.approval is None:
        return Refuse(CloseReason.IDENTITY_UNAVAILABLE, "the service was not asked")
    return Passed(f"{case.policy.spec.forward_auth.issuer} says yes")


def check_identity(case: Case) -> Passed | Refuse:
    """One handshake speaks for one (issuer, subject).

    Whom `forwardAuth` names has that service for an issuer, which no token has: of the two only subjects are compared.
    """
    who = {(identity.issuer, identity.subject) for identity in case.identities if identity.provider != PROVIDER}
    if len(who) > 1 or len({identity.subject for identity in case.identities}) > 1:
        return Refuse(CloseReason.CREDENTIAL_INVALID, "the credentials speak for different subjects")
    return Passed(f"subject of issuer {case.identities[0].issuer}" if case.identities else "anonymous")


def check_deny_list(case: Case) -> Passed | Refuse:
    """A session that was logged out does not come back with the token or the cookie it still holds."""
    identities, watched = case.identities, case.watched
    has_session = bool(identities or watched)
    if has_session and case.deny_list.overflowed(case.now):
        return Refuse(CloseReason.IDENTITY_UNAVAILABLE, "the deny-list is full: a logout may have been forgotten")
    issuers = [identity.issuer for identity in identities]
    if (
        any(case.deny_list.denies(identity, case.now) for identity in identities)
        or any(case.deny_list.denies_cookie(digest, issuers, case.now) for digest in watched)
        or (watched and not identities and case.deny_list.denies_unnamed(case.now, case.now))
    ):
        return Refuse(CloseReason.LOGGED_OUT, "the session was logged out")
    if has_session and case.deny_list.is_behind:
        return Refuse(CloseReason.IDENTITY_UNAVAILABLE, "session events are away, or not read back yet")
    return Passed("not logged out")


def check_authorization(case: Case) -> Passed | Refuse:
    """The policy's rules, the first that matches decides."""
    spec = case.policy.spec.authorization if case.policy else None
    identity = case.identities[0] if case.identities else None
    origin = case.handshake.origin
    caller = Caller(
        identity,
        case.effective.client_ip,
        host=case.effective.authority.host,
        path=case.handshake.path,
        origin=None if origin is None else origin.decode("latin-1"),
        certificate=case.effective.certificate,
        now=case.now,
    )
    ruling = authorize(spec, caller)
    if not ruling.allowed:
        return Refuse(CloseReason.NOT_AUTHORIZED, ruling.detail)
    return Passed(ruling.detail, ruling.unclear)


def _text(origin: bytes) -> str:
    """An Origin as a detail quotes it, less the query that only a program would put there."""
    return origin.partition(b"?")[0].decode("latin-1").encode("unicode_escape").decode("ascii")[:200]
