"""Lets live connections go on by a newer credential of their session, which the guard was shown since.

Nothing in here waits. The deny-list is asked again in the same step in which bounds move: a log-out may have come
between the verdict on the credential and now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from wsguard.policy.case import Case
from wsguard.policy.effective import written_ip
from wsguard.policy.model import Renewal
from wsguard.policy.renewal import approved_again, is_same_page, rule_on
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.connection import Connection
from wsguard.sessions.denylist import DenyList, is_issued_before
from wsguard.sessions.identity import Identity
from wsguard.sessions.lifecycle import Phase
from wsguard.sessions.records import Renewed, RenewedBy
from wsguard.sessions.registry import Registry
from wsguard.sessions.renewal import renewed

if TYPE_CHECKING:
    from wsguard.proxy.admission import Admission
    from wsguard.proxy.environment import Observer


class Renewer:
    """Knows the live connections that can be renewed at all: the others cost nothing here."""

    def __init__(self, registry: Registry, deny_list: DenyList, observer: Observer) -> None:
        self._registry = registry
        self._deny_list = deny_list
        self._observer = observer
        self._live: dict[str, Admission] = {}

    def __len__(self) -> int:
        """How many connections could be renewed."""
        return len(self._live)

    def enter(self, admission: Admission) -> None:
        """A connection lives under this policy and by these credentials from now on."""
        mode = admission.policy.spec.session.renewal
        if mode is not Renewal.OFF and any(who.sid is not None for who in admission.connection.identities):
            self._live[admission.connection.id] = admission
        else:
            self.forget(admission.connection.id)

    def forget(self, connection_id: str) -> None:
        """The connection is over."""
        self._live.pop(connection_id, None)

    def has_older(self, policy: str, sid: str, issued_at: float) -> bool:
        """Whether any connection of the session `sid` lives by a credential from before `issued_at`."""
        return any(
            who.sid == sid and is_issued_before(who, issued_at)
            for connection in self._registry.find(sid=sid, policy=policy)
            for who in connection.identities
        )

    def renew(self, case: Case, by: RenewedBy) -> Renewed:
        """Renew by the good credentials of `case`, which has passed RENEWAL or more.

        Only connections under the policy of `case`, of the same session, credential source and Origin. One whose policy
        has a rule against its newer claims is cut.
        """
        identities = [who for who in case.identities if not self._deny_list.denies(who, case.now)]
        kept = cut = 0
        for connection in self._of_session(case, identities):
            admission, after = self._live.get(connection.id), renewed(connection.identities, identities)
            if admission is None or after is None or connection.link.state != Phase.OPEN.value:
                continue
            if not is_same_page(connection, case.handshake, case.effective):
                continue
            if self._renew_one(admission, case, approved_again(after, identities)):
                kept += 1
            else:
                cut += 1
        record = Renewed(
            policy=case.policy.name if case.policy is not None else "",
            by=by,
            connections=kept,
            cut=cut,
            identity=identities[0] if identities else None,
            client_ip=written_ip(case.effective.client_ip),
        )
        if kept or cut:
            self._observer.renewed(record)
        return record

    def _of_session(self, case: Case, identities: Sequence[Identity]) -> list[Connection]:
        if not self._live or case.policy is None:
            return []
        found: dict[str, Connection] = {}
        for who in identities:
            if who.sid is not None:
                same = self._registry.find(issuer=who.issuer, subject=who.subject, sid=who.sid, policy=case.policy.name)
                found.update((connection.id, connection) for connection in same)
        return list(found.values())

    def _renew_one(self, admission: Admission, case: Case, identities: Sequence[Identity]) -> bool:
        """Move one connection; False where it was cut instead."""
        try:
            ruling = rule_on(admission.connection, admission.policy, identities, case.now)
            if not ruling.allowed:
                admission.cut(None, CloseReason.NOT_AUTHORIZED, f"renewed: {ruling.detail}")
                if admission.connection.link.state != Phase.OPEN.value:
                    return False
            admission.renew(identities, case)
        except Exception as error:  # a bug must not let anyone stay (nor end the guard)
            self._observer.fault("renewing a connection", error)
            admission.cut(None, CloseReason.GUARD_FAULT, f"a fault of the guard: {type(error).__name__}")
            return False
        return True
