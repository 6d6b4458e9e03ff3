"""An admitted connection's place in the house: in the registry, under the timekeeper's eye, in the log when it ends."""

from __future__ import annotations

from wsguard.policy.decision import Admit, Refuse
from wsguard.policy.evidence import Evidence
from wsguard.policy.judge import Case
from wsguard.policy.model import Enforcement, WebSocketPolicy
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy.endings import Cause, Close
from wsguard.proxy.environment import Environment
from wsguard.proxy.wording import word
from wsguard.sessions.bounds import Bounds
from wsguard.sessions.connection import Connection, Traffic
from wsguard.sessions.records import Delivery, Ended

_POLICY_CUTS = frozenset(
    (
        CloseReason.SESSION_EXPIRED,
        CloseReason.LOGGED_OUT,
        CloseReason.SESSION_INVALID,
        CloseReason.IDENTITY_UNAVAILABLE,
        CloseReason.MAX_DURATION,
        CloseReason.IDLE_TIMEOUT,
    )
)
"""What a policy under Audit does not do. What an operator asks for, or a peer forces, still happens."""


class Admission:
    """Owns one splice: gives it words for its cuts, and takes its end to everyone who must know."""

    __slots__ = ("_env", "_opened", "connection", "policy")

    connection: Connection
    policy: WebSocketPolicy

    def __init__(self, env: Environment, policy: WebSocketPolicy) -> None:
        self._env = env
        self.policy = policy
        self._opened = env.clock.monotonic()

    def enter(self, connection: Connection, case: Case) -> None:
        """Register, then look again: a logout or a reload may have come between the verdict on `case` and now."""
        env, link = self._env, connection.link
        self.connection = connection
        env.registry.add(connection)
        bounds = self._watch()
        if env.revalidator is not None:
            env.revalidator.enter(connection.id, link, Evidence.of(case, self.policy))
        now = env.clock.wall()
        if self._is_logged_out(now, env.clock.monotonic()):
            link.cut(CloseReason.LOGGED_OUT)
        if (connection.identities or connection.watched) and env.deny_list.overflowed(now):
            link.cut(CloseReason.IDENTITY_UNAVAILABLE)
        if (reason := bounds.expired(now)) is not None:
            link.cut(reason)
        if env.is_draining():
            link.cut(CloseReason.DRAINING)
        env.rejudger.enter(self, case)

    def move(self, policy: WebSocketPolicy, admit: Admit) -> None:
        """Live on under `policy`, which admits the connection as well, and within its bounds."""
        connection, expires_at = self.connection, admit.expires_at
        self._env.registry.remove(connection.id)  # it is found there by policy and identity
        self.policy, connection.policy = policy, policy.name
        if admit.identity is not None:
            connection.identity, connection.others = admit.identity, admit.others
        connection.expires_at = None if expires_at is None else expires_at + policy.spec.session.clock_skew
        self._env.registry.add(connection)
        self._env.timekeeper.forget(connection.id)
        self._watch()

    def spare(self, policy: WebSocketPolicy, refusal: Refuse) -> None:
        """Live on under `policy`, which would not admit the connection, but only audits."""
        connection = self.connection
        self._env.observer.spared(connection.id, policy.name, refusal.reason, refusal.detail)
        expires_at = connection.expires_at
        skew = self.policy.spec.session.clock_skew
        self.move(policy, Admit(expires_at=None if expires_at is None else expires_at - skew))

    def cut(self, policy: WebSocketPolicy | None, reason: CloseReason, detail: str) -> None:
        """End the connection in the words of `policy`; None: of the one that it lives under."""
        self.policy = policy or self.policy
        self.connection.link.cut(reason, detail)

    def close_for(self, reason: CloseReason) -> Close | None:
        """The words of a cut; None where the policy only audits such cuts."""
        env, spec = self._env, self.policy.spec
        if spec.enforcement is Enforcement.AUDIT and reason in _POLICY_CUTS:
            env.observer.spared(self.connection.id, self.policy.name, reason, "the policy only audits")
            return None
        guard = env.policies().guard
        return word(reason, spec.rejection, guard, env.rng, population=len(env.registry))

    def _is_logged_out(self, now: float, monotonic: float) -> bool:
        connection, deny_list = self.connection, self._env.deny_list
        if any(deny_list.denies(who, now) for who in connection.identities):
            return True
        issuers = tuple(who.issuer for who in connection.identities)
        successions = self._env.registry.successions
        return any(
            deny_list.denies_cookie(digest, issuers, now) or successions.is_doubted(digest, monotonic)
            for digest in connection.watched
        )

    def _watch(self) -> Bounds:
        connection, session = self.connection, self.policy.spec.session
        bounds = Bounds(
            expires_at=connection.expires_at,
            ends_at=self._opened + session.max_connection_duration,
            idle_timeout=session.idle_timeout,
        )
        self._env.timekeeper.watch(connection.id, connection.link, bounds)
        return bounds

    def ended(self, cause: Cause, delivery: Delivery, traffic: Traffic) -> None:
        """Leave the registry and tell the observer, once."""
        env, connection = self._env, self.connection
        env.registry.remove(connection.id)
        env.timekeeper.forget(connection.id)
        env.rejudger.forget(connection.id)
        if env.revalidator is not None:
            env.revalidator.leave(connection.id)
        env.observer.ended(
            Ended(
                connection_id=connection.id,
                policy=connection.policy,
                initiator=cause.initiator,
                reason=cause.reason,
                code=cause.code,
                phase=cause.phase.value,
                delivery=delivery,
                detail=cause.detail,
                identity=connection.identity,
                client_ip=connection.client_ip,
                path=connection.path,
                duration=env.clock.monotonic() - self._opened,
                traffic=traffic,
            )
        )
        del self.connection  # its link holds the splice, which holds this: nothing is to wait for the collector
