"""An admitted connection's place in the house: in the registry, under the timekeeper's eye, in the log when it ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from wsguard.policy.case import Case
from wsguard.policy.decision import Admit, Refuse
from wsguard.policy.evidence import Evidence
from wsguard.policy.model import Enforcement, Renewal, WebSocketPolicy
from wsguard.protocol.frames import message_frame
from wsguard.protocol.limited_scanner import LIMITS
from wsguard.protocol.reasons import Advice, CloseReason
from wsguard.proxy import keepalive
from wsguard.proxy.endings import Cause, Close
from wsguard.proxy.environment import Environment
from wsguard.proxy.farewell import farewell
from wsguard.proxy.keeper import Keeper
from wsguard.proxy.wording import word
from wsguard.sessions.bounds import Bounds
from wsguard.sessions.connection import NO_WORDS, Connection, Farewell, Stream, Traffic
from wsguard.sessions.identity import Identity, earliest_end
from wsguard.sessions.lifecycle import Phase
from wsguard.sessions.records import Delivery, Ended
from wsguard.sessions.renewal import live_by

_POLICY_CUTS = frozenset(
    (
        CloseReason.SESSION_EXPIRED,
        CloseReason.LOGGED_OUT,
        CloseReason.SESSION_INVALID,
        CloseReason.IDENTITY_UNAVAILABLE,
        CloseReason.NOT_AUTHORIZED,
        CloseReason.MAX_DURATION,
        CloseReason.IDLE_TIMEOUT,
        CloseReason.KEEPALIVE_TIMEOUT,
        CloseReason.TOO_MANY_CONNECTIONS,
        CloseReason.SLOW_CONSUMER,
        *LIMITS,
    )
)
"""What a policy under Audit does not do. What an operator asks for, or a peer forces, still happens."""


class Admission:
    """Owns one splice or exchange: gives it words for its cuts, and takes its end to everyone who must know."""

    __slots__ = ("_env", "_opened", "_subprotocol", "connection", "keeper", "policy")

    connection: Connection
    policy: WebSocketPolicy
    keeper: Keeper | None

    def __init__(self, env: Environment, policy: WebSocketPolicy, subprotocol: str) -> None:
        """`subprotocol` is the one that the backend has chosen, or ""."""
        self._env = env
        self._subprotocol = subprotocol
        self.policy = policy
        self.keeper = None
        self._opened = env.clock.monotonic()

    def enter(self, connection: Connection, case: Case) -> None:
        """Register, then look again: a logout or a reload may have come between the verdict on `case` and now."""
        env, link = self._env, connection.link
        self.connection = connection
        connection.host, connection.certificate = case.effective.authority.host, case.effective.certificate
        connection.farewell = self._farewell(self.policy)
        env.registry.add(connection)
        env.turnstile.enter(connection)
        self._watch()
        env.renewer.enter(self)
        if env.revalidator is not None:
            env.revalidator.enter(connection.id, link, Evidence.of(case, self.policy))
        for reason in self.objections(case.now):
            link.cut(reason)
        env.rejudger.enter(self, case)
        is_passive = self.policy.spec.session.renewal is Renewal.PASSIVE
        if is_passive and connection.identity is not None and link.state == Phase.OPEN.value:
            env.renewer.renew(case, "handshake")

    def objections(self, judged_at: float) -> Iterator[CloseReason]:
        """What would end the connection now, that was judged good at `judged_at` (seconds since the epoch)."""
        env, connection, now = self._env, self.connection, self._env.clock.wall()
        if self._is_logged_out(judged_at, now, env.clock.monotonic()):
            yield CloseReason.LOGGED_OUT
        if (connection.identities or connection.watched) and env.deny_list.overflowed(now):
            yield CloseReason.IDENTITY_UNAVAILABLE
        if (reason := self._bounds().expired(now)) is not None:
            yield reason
        if env.is_draining():
            yield CloseReason.DRAINING

    def move(self, policy: WebSocketPolicy, admit: Admit) -> None:
        """Live on under `policy`, which admits the connection as well, and within its bounds."""
        connection = self.connection
        self._env.registry.remove(connection.id)  # it is found there by policy and identity
        self.policy, connection.policy = policy, policy.name
        connection.farewell = self._farewell(policy)
        if admit.identity is not None:
            connection.identity, connection.others = admit.identity, admit.others
        self._live_until(admit.expires_at)
        self._env.turnstile.move(connection)

    def renew(self, identities: Sequence[Identity], case: Case) -> None:
        """Live on by `identities`, some of which `case` has shown; no bound moves but that of the credentials."""
        env, connection = self._env, self.connection
        env.registry.remove(connection.id)
        replaced = live_by(connection, identities)
        self._live_until(earliest_end(identities))
        for old, new in replaced:
            env.registry.successions.follow(old, new)
        env.rejudger.renewed(connection.id, identities)
        if self.keeper is not None:
            self.keeper.renewed(identities)
        if env.revalidator is not None:
            env.revalidator.renew(connection.id, connection.link, Evidence.renewing(case, self.policy, identities))

    def rejoin(self, backend: str) -> None:
        """Live on at `backend`; what the one before it owes is nothing to this one."""
        env, connection = self._env, self.connection
        if connection.backend != backend:
            env.registry.remove(connection.id)  # it is found there by its backend
            connection.backend = backend
            env.registry.add(connection)
        env.keepalive.forget(connection.id)
        self._keep_alive()

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

    def close_for(self, reason: CloseReason, crowd: int | None = None) -> Close | None:
        """The words of a cut; None where the policy only audits such cuts."""
        if self._spares(reason):
            return None
        env, guard = self._env, self._env.policies().guard
        if reason.advice is Advice.RECONNECT:
            env.registry.dismiss(self.connection.id)
        return word(reason, self.policy.spec.rejection, guard, env.rng, population=crowd or len(env.registry))

    def throttles(self, reason: CloseReason) -> bool:
        """Whether the client is to be held back; not where the policy only audits."""
        if self._spares(reason):
            return False
        self._env.observer.throttled(self.connection.id, self.policy.name, reason)
        return True

    def _spares(self, reason: CloseReason) -> bool:
        if self.policy.spec.enforcement is not Enforcement.AUDIT or reason not in _POLICY_CUTS:
            return False
        self._env.observer.spared(self.connection.id, self.policy.name, reason, "the policy only audits")
        return True

    def _farewell(self, policy: WebSocketPolicy) -> Farewell:
        if self.connection.stream is not Stream.WEB_SOCKET:
            return NO_WORDS  # hints are messages of a WebSocket
        return farewell(policy.spec.migration, self._subprotocol)

    def _is_logged_out(self, judged_at: float, now: float, monotonic: float) -> bool:
        connection, deny_list = self.connection, self._env.deny_list
        if any(deny_list.denies(who, now) for who in connection.identities):
            return True
        if connection.watched and not connection.identities and deny_list.denies_unnamed(judged_at, now):
            return True
        issuers = tuple(who.issuer for who in connection.identities)
        successions = self._env.registry.successions
        return any(
            deny_list.denies_cookie(digest, issuers, now) or successions.is_doubted(digest, monotonic)
            for digest in connection.watched
        )

    def _live_until(self, expires_at: float | None) -> None:
        """Be found again, and watched anew. `expires_at` is without the clock skew."""
        env, connection = self._env, self.connection
        connection.expires_at = None if expires_at is None else expires_at + self.policy.spec.session.clock_skew
        env.registry.add(connection)
        env.timekeeper.forget(connection.id)
        self._watch()
        env.renewer.enter(self)

    def _bounds(self) -> Bounds:
        session = self.policy.spec.session
        return Bounds(
            expires_at=self.connection.expires_at,
            ends_at=self._opened + session.max_connection_duration,
            idle_timeout=session.idle_timeout,
        )

    def _watch(self) -> None:
        connection, session, bounds = self.connection, self.policy.spec.session, self._bounds()
        self._env.timekeeper.watch(connection.id, connection.link, bounds)
        if connection.stream is Stream.WEB_SOCKET:  # and so its link is a splice
            self._keep_alive()
        if session.expiry_hint is not None:
            when = bounds.hint_at(session.expiry_hint.before, self._env.clock.wall())
            if when is not None:
                self._env.timekeeper.remind(connection.id, when, self._hint)

    def _keep_alive(self) -> None:
        connection = self.connection
        link = cast("keepalive.Link", connection.link)
        self._env.keepalive.watch(connection.id, link, self.policy.spec.keep_alive)

    def _hint(self) -> None:
        """Tell the client that its credential is about to expire, unless it is renewed before that can be said."""
        connection, hint = self.connection, self.policy.spec.session.expiry_hint
        if hint is not None:
            frame, end = message_frame(hint.message), connection.expires_at
            connection.link.interject(lambda: frame if connection.expires_at == end else None)

    def ended(self, cause: Cause, delivery: Delivery, traffic: Traffic) -> None:
        """Leave the registry and tell the observer, once."""
        env, connection = self._env, self.connection
        env.registry.remove(connection.id)
        env.turnstile.leave(connection)
        env.timekeeper.forget(connection.id)
        env.keepalive.forget(connection.id)
        env.rejudger.forget(connection.id)
        env.renewer.forget(connection.id)
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
                backend=connection.backend,
                stream=connection.stream,
            )
        )
        self.keeper = None
        del self.connection  # its link holds the splice, which holds this: nothing is to wait for the collector
