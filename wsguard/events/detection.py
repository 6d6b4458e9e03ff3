"""Log-outs that the application's own answers show, as the proxy saw them pass (`session.logoutDetection`).

Law: only a cookie that is verified now, or that a handshake was admitted with, counts, so that nobody fills the
deny-list with invented ones. Another replica may have admitted it: they are asked through the stream, so often and no
oftener.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from secrets import token_hex
from typing import Any

from wsguard.events.bus import Bus
from wsguard.events.observer import Observer
from wsguard.events.outbox import OutboxFull
from wsguard.events.rate import Allowance, Rate
from wsguard.policy.credentials import Credential
from wsguard.policy.effective import Effective, written_ip
from wsguard.policy.logout_detection import Exchange, LoggedOut, Replaced, Sign, carries_session, signs
from wsguard.policy.model import WebSocketPolicy
from wsguard.policy.policy_set import PolicySet
from wsguard.protocol.http import RequestHead
from wsguard.sessions.clock import Clock
from wsguard.sessions.denylist import DenyList
from wsguard.sessions.identity import Identity
from wsguard.sessions.logout import Logout, proven
from wsguard.sessions.registry import Registry

SOURCE = "LogoutDetection"
"""What such events are called in log and metrics."""

Voucher = Callable[[WebSocketPolicy, Credential], Identity | None]
"""Whom a cookie speaks for that can be verified without asking anybody, such as a signed token."""

_PER_CLIENT, _IN_ALL = Allowance(10.0, 200.0), Allowance(20.0, 1_000.0)
"""Questions to the other replicas: each stays in the stream for days."""


class LogoutDetector:
    """Acts on what exchanges with the backend say about sessions. `policies` gives the set that is in force."""

    def __init__(
        self,
        bus: Bus,
        registry: Registry,
        deny_list: DenyList,
        clock: Clock,
        observer: Observer,
        policies: Callable[[], PolicySet],
        vouch: Voucher,
    ) -> None:
        self._bus = bus
        self._registry = registry
        self._deny_list = deny_list
        self._clock = clock
        self._observer = observer
        self._policies = policies
        self._vouch = vouch
        self._rate = Rate(_PER_CLIENT, _IN_ALL)
        self._publishing: set[asyncio.Task[None]] = set()

    def concerns(self, request: RequestHead, effective: Effective) -> bool:
        """Whether `request` carries a session cookie: its answer may say something of it. Raises nothing."""
        try:
            return carries_session(request, effective, self._policies().watching)
        except Exception as error:
            self._observer.fault("looking for a session in a request", error)
            return False

    def notice(self, exchange: Exchange) -> asyncio.Future[Any] | None:
        """Act on `exchange`: at the next turn of the loop here, and on the other replicas once the future is done.

        None where there is nothing to wait for. Raises nothing: the application's answer is to go on.
        """
        watching = self._policies().watching
        if not watching:
            return None
        try:
            begun = self._act(exchange, signs(exchange, watching, self._clock.wall()))
        except Exception as error:
            self._observer.fault("looking for a log-out in an answer", error)
            return None
        return asyncio.gather(*begun, return_exceptions=True) if begun else None

    async def close(self) -> None:
        """Wait no longer for what was begun; what is not stored yet is in the outbox."""
        for task in self._publishing:
            task.cancel()
        await asyncio.gather(*self._publishing, return_exceptions=True)

    def _act(self, exchange: Exchange, found: list[Sign]) -> list[asyncio.Task[None]]:
        registry, deny_list, now = self._registry, self._deny_list, self._clock.wall()
        begun = []
        for sign in found:
            if deny_list.denies_cookie(sign.cookie, (), now):
                continue  # it is over; and what comes after it is of another login
            admitted = proven(sign.cookie, registry, deny_list, now)
            if isinstance(sign, Replaced):
                if admitted:
                    registry.successions.replace(sign.cookie, sign.successor)
            elif self._is_good(sign):
                begun.append(self._end(sign, sign.cookie))
            elif registry.successions.knows(sign.cookie):
                begun += [self._end(sign, cookie) for cookie in admitted]
            else:
                self._ask_others(sign, written_ip(exchange.effective.client_ip))
        return begun

    def _is_good(self, sign: LoggedOut) -> bool:
        """Whether the cookie is good by itself; then it is to be kept out for as long as it would be."""
        who = None if sign.credential is None else self._vouch(sign.policy, sign.credential)
        if who is not None:
            self._deny_list.observe(who, self._clock.wall())
        return who is not None

    def _end(self, sign: LoggedOut, cookie: str) -> asyncio.Task[None]:
        self._observer.detected(sign.policy.name, cookie, sign.why)
        task = asyncio.create_task(self._publish(_logout(cookie)))
        self._publishing.add(task)
        task.add_done_callback(self._publishing.discard)
        return task

    async def _publish(self, logout: Logout) -> None:
        try:
            await self._bus.publish(SOURCE, logout, token_hex(8))
        except OutboxFull:
            self._observer.lost(SOURCE, 1)
        except Exception as error:  # of the connections that could not be cut; the others were
            self._observer.fault("ending a session", error)

    def _ask_others(self, sign: LoggedOut, client: str) -> None:
        now = self._clock.monotonic()
        self._registry.successions.doubt(sign.cookie, now)
        is_asked = self._bus.followers and self._rate.allows(client, now)
        if is_asked and self._bus.inquire(_logout(sign.cookie), token_hex(8)):
            self._observer.event(SOURCE, "asked")
        else:
            self._observer.event(SOURCE, "ignored")


def _logout(cookie: str) -> Logout:
    return Logout("cookie", cookie, None, 0.0)
