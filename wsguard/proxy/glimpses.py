"""Newer credentials that pass by, in forwarded requests and in handshakes to other paths (`session.renewal: Passive`).

What passes is not judged here, so nothing that is found delays or refuses it, and no service is asked on its behalf:
what cannot be told from keys, or from an answer that is still remembered, is let go. So a policy with `forwardAuth` is
renewed only by handshakes that it admits itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from dataclasses import dataclass

from cachetools import LRUCache

from wsguard.policy.case import Case
from wsguard.policy.credentials import Credential, read_credentials
from wsguard.policy.decision import Admit
from wsguard.policy.effective import Effective
from wsguard.policy.judge import RENEWAL, judge
from wsguard.policy.model import Renewal, WebSocketPolicy
from wsguard.policy.policy_set import PolicySet
from wsguard.policy.tokens import UnverifiedToken, peek
from wsguard.protocol.handshake import Handshake
from wsguard.protocol.http import RequestHead
from wsguard.proxy.environment import Environment
from wsguard.sessions.records import RenewedBy

MAX_WAITING = 16
"""Requests whose token waits for keys at once; that of any further one is let go, for it comes with the next."""

_REMEMBERED = 4096  # tokens, by what they say of themselves

_PAUSE = 1.0  # seconds for which a token is no news, once it was looked at: a page's requests come in crowds


@dataclass(slots=True)
class _Said:
    """What a token says of itself, and nobody has vouched for: its `sid` and `iat`.

    `looked_at` is when it was last asked whether that is news, in monotonic seconds.
    """

    sid: str
    issued_at: float
    looked_at: float = -math.inf


class Glimpses:
    """Looks at what comes through the door. Made inside a running loop; close it at the end."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._said: LRUCache[tuple[str, bytes], _Said | None] = LRUCache(_REMEMBERED)
        self._waiting: set[asyncio.Task[None]] = set()
        self._policies: PolicySet | None = None
        self._passive: tuple[WebSocketPolicy, ...] = ()

    async def close(self) -> None:
        """Let go of whatever waits."""
        for task in self._waiting:
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)

    def look_at_request(self, head: RequestHead, effective: Effective) -> None:
        """The same of a request that is no handshake."""
        request = Handshake(head, head.raw_path, b"", head.headers.first(b"origin"), (), None)
        self.look(request, effective, "forwarded")

    def look(self, request: Handshake, effective: Effective, by: RenewedBy = "handshake") -> None:
        """Renew what a credential in `request` may renew, now or soon. Returns at once, and never raises."""
        try:
            policies = self._env.policies()
            if policies is not self._policies:
                passive = (each for each in policies.policies if each.spec.session.renewal is Renewal.PASSIVE)
                self._policies, self._passive = policies, tuple(passive)
            if self._passive and len(self._env.renewer):
                self._look(request, effective, policies, by)
        except Exception as error:  # a bug must not cost the request
            self._env.observer.fault("looking at a request that passes", error)

    def _look(self, request: Handshake, effective: Effective, policies: PolicySet, by: RenewedBy) -> None:
        for policy in self._passive:
            hosts = policy.spec.match.hostnames
            if hosts and not any(host.matches(effective.authority.host) for host in hosts):
                continue
            found = read_credentials(request, policy)
            telling = [each for each in found if self._may_renew(policy, each)] if isinstance(found, tuple) else []
            if telling:
                case = Case(request, effective, policy, policies, self._env.clock.wall(), self._env.deny_list)
                self._consider(case, policy, tuple(telling), by)

    def _may_renew(self, policy: WebSocketPolicy, credential: Credential) -> bool:
        """Whether it is worth asking. Of most tokens it is known after a look that they are no news."""
        digest = hashlib.sha256(credential.token.encode("utf-8", "surrogatepass")).digest()
        key = (policy.name, digest)
        if key not in self._said:
            self._said[key] = _what_it_says(credential.token)
        said, now = self._said[key], self._env.clock.monotonic()
        if said is None:
            return policy.spec.introspection is not None
        if now - said.looked_at < _PAUSE:
            return False
        said.looked_at = now
        return self._env.renewer.has_older(policy.name, said.sid, said.issued_at)

    def _consider(
        self, case: Case, policy: WebSocketPolicy, credentials: tuple[Credential, ...], by: RenewedBy
    ) -> None:
        case.credentials = credentials
        known = self._env.verifier.cached(policy, credentials)
        if known is not None:
            case.facts = known
            self._renew(case, by)
        elif len(self._waiting) < MAX_WAITING and all(_what_it_says(each.token) for each in credentials):
            task = asyncio.create_task(self._wait(case, policy, credentials, by))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)

    async def _wait(
        self, case: Case, policy: WebSocketPolicy, credentials: tuple[Credential, ...], by: RenewedBy
    ) -> None:
        """Keys have to be fetched first."""
        try:
            async with asyncio.timeout(case.policies.guard.listener.handshake_timeout):
                case.facts = await self._env.verifier.gather(policy, credentials)
            case.now = self._env.clock.wall()
            self._renew(case, by)
        except TimeoutError:
            return
        except Exception as error:  # nobody waits for this task
            self._env.observer.fault("looking at a request that passes", error)

    def _renew(self, case: Case, by: RenewedBy) -> None:
        if isinstance(judge(case, RENEWAL), Admit):
            self._env.renewer.renew(case, by)


def _what_it_says(token: str) -> _Said | None:
    read = peek(token)
    if not isinstance(read, UnverifiedToken):
        return None
    sid, issued_at = read.claims.get("sid"), read.claims.get("iat")
    if not isinstance(sid, str) or isinstance(issued_at, bool) or not isinstance(issued_at, (int, float)):
        return None
    return _Said(sid, float(issued_at))
