"""Judges live connections again when policies have changed, those whose policy says `onReload: Rejudge`.

Nothing is kept of any other connection. The work is spread: between two handfuls everything else has its turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from wsguard.policy.case import Case
from wsguard.policy.decision import Admit
from wsguard.policy.judge import is_only_audited
from wsguard.policy.model import OnReload
from wsguard.policy.policy_set import PolicySet
from wsguard.policy.rejudge import kept, rejudge, renewed
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.clock import Clock
from wsguard.sessions.identity import Identity

if TYPE_CHECKING:
    from wsguard.proxy.admission import Admission
    from wsguard.proxy.environment import Observer

HANDFUL = 25
"""Connections that are judged in one go: some milliseconds, also where each of them is cut."""

PAUSE = 0.001
"""Seconds between two handfuls, at the least."""


class Rejudger:
    """Holds what is known of the connections that are to be judged again. `policies` gives the set in force."""

    def __init__(self, clock: Clock, observer: Observer, policies: Callable[[], PolicySet]) -> None:
        self._clock = clock
        self._observer = observer
        self._policies = policies
        self._judged_by = policies()
        self._kept: dict[str, tuple[Admission, Case]] = {}
        self._work: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many connections would be judged again."""
        return len(self._kept)

    def enter(self, admission: Admission, case: Case) -> None:
        """A connection was admitted; `case` is what it was admitted on.

        Look again, after registering: the policies may have changed between the verdict and now.
        """
        if admission.policy.spec.session.on_reload is not OnReload.REJUDGE:
            return
        self._kept[admission.connection.id] = (admission, kept(case))
        if case.policies is not self._policies():
            self._judge(admission.connection.id)

    def forget(self, connection_id: str) -> None:
        """The connection is over."""
        self._kept.pop(connection_id, None)

    def renewed(self, connection_id: str, identities: Sequence[Identity]) -> None:
        """A connection lives by `identities` from now on."""
        if connection_id in self._kept:
            admission, case = self._kept[connection_id]
            self._kept[connection_id] = (admission, renewed(case, identities))

    def reloaded(self) -> None:
        """The policies may have changed: begin to judge again. Returns at once."""
        if self._work is not None and not self._work.done():
            return  # it notices
        policies = self._policies()
        if self._kept and policies.policies != self._judged_by.policies:
            self._work = asyncio.create_task(self._run())
        else:
            self._judged_by = policies

    async def close(self) -> None:
        """Judge no more."""
        if self._work is not None:
            self._work.cancel()
            with suppress(asyncio.CancelledError):
                await self._work

    async def _run(self) -> None:
        """Go through all, and again where the policies have changed meanwhile."""
        while (policies := self._policies()) is not self._judged_by:
            judged = cut = 0
            for connection_id in list(self._kept):
                if connection_id not in self._kept:
                    continue  # it ended while the others were judged
                cut += not self._judge(connection_id)
                judged += 1
                if judged % HANDFUL == 0:
                    await asyncio.sleep(PAUSE)
            self._judged_by = policies
            self._observer.rejudged(judged, cut)

    def _judge(self, connection_id: str) -> bool:
        """Judge one connection by the policies in force; False where it was cut."""
        admission, case = self._kept[connection_id]
        try:
            again, decision = rejudge(case, self._policies(), self._clock.wall())
        except Exception as error:  # a bug must not let anyone stay (nor end the guard)
            self._observer.fault("judging a connection again", error)
            admission.cut(None, CloseReason.GUARD_FAULT, f"a fault of the guard: {type(error).__name__}")
            return False
        policy = again.policy
        if isinstance(decision, Admit) and policy is not None:
            admission.move(policy, decision)
        elif not isinstance(decision, Admit) and policy is not None and is_only_audited(again):
            admission.spare(policy, decision)
            again = case  # what this policy held against it is not to be held against it by the next
        elif not isinstance(decision, Admit):
            admission.cut(policy, decision.reason, decision.detail)
            return False
        if admission.policy.spec.session.on_reload is OnReload.REJUDGE:
            self._kept[connection_id] = (admission, again)
        else:
            self.forget(connection_id)
        return True
