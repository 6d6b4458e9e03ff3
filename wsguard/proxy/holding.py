"""Holds one client while its backend is away (`backendLoss: Hold`), and brings it to another one.

Law: nothing happens silently, and nothing twice that the policy does not call safe to repeat. The new backend is told
by a header field, the client by a hint; what cannot be continued is not held, and the log says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

from wsguard.policy.case import Case
from wsguard.policy.decision import Refuse
from wsguard.policy.holding import hint, is_held, recorder, why_not
from wsguard.policy.judge import is_only_audited
from wsguard.policy.model import Backend
from wsguard.policy.model_hold import Hold
from wsguard.policy.rejudge import kept, rejudge, renewed
from wsguard.protocol.http import RequestHead
from wsguard.protocol.reasons import RESTARTS, CloseReason
from wsguard.protocol.upgrade import Answer, subprotocol_of
from wsguard.proxy.absence import Absence, part
from wsguard.proxy.admission import Admission
from wsguard.proxy.environment import Environment
from wsguard.proxy.greeting import Unwelcome
from wsguard.proxy.half import Half
from wsguard.proxy.halves import make_halves
from wsguard.proxy.held import Held
from wsguard.proxy.pair import Pair
from wsguard.proxy.redial import NoBackend, redial, redial_request
from wsguard.proxy.redialer import Outcome
from wsguard.proxy.replayer import Replayer
from wsguard.proxy.splice import Splice
from wsguard.proxy.watched import Clockwork
from wsguard.sessions.endurance import Endurance
from wsguard.sessions.identity import Identity
from wsguard.sessions.lifecycle import Phase


def let_hold(
    splice: Splice, env: Environment, admission: Admission, case: Case, head: RequestHead, answer: Answer
) -> None:
    """Let the connection be held, where its policy says so and its protocol bears it.

    `case` is what it was admitted on, `head` what the backend was sent, `answer` that backend's 101.
    """
    spec = admission.policy.spec
    if not is_held(admission.policy) or spec.hold is None:
        return
    subprotocol = subprotocol_of(answer.headers)
    if (problem := why_not(admission.policy, subprotocol)) is not None:
        env.observer.not_held(admission.connection.id, admission.policy.name, problem)
        return
    clockwork = Clockwork(env.loop, env.clock.monotonic)

    def new_half() -> Half:
        return make_halves(splice, spec, 0, clockwork)[1]

    admission.keeper = keeper = ClientKeeper(env, admission, kept(case), head, subprotocol, spec.hold, new_half)
    splice.keep(keeper)


class ClientKeeper:
    """Keeps one client. Implements `proxy.keeper.Keeper` and `proxy.redialer.Holding`."""

    __slots__ = (
        "_absence",
        "_admission",
        "_case",
        "_endurance",
        "_env",
        "_head",
        "_hold",
        "_new_half",
        "_pair",
        "_redials",
        "_replayer",
        "_splice",
        "_subprotocol",
        "problem",
    )

    _splice: Splice
    _pair: Pair

    def __init__(
        self,
        env: Environment,
        admission: Admission,
        case: Case,
        head: RequestHead,
        subprotocol: str,
        spec: Hold,
        new_half: Callable[[], Half],
    ) -> None:
        """`case` holds no secret; `head` does, as far as the policy forwards it. `new_half` makes a backend's half."""
        self._env = env
        self._admission = admission
        self._case = case
        self._head = head
        self._new_half = new_half
        self._subprotocol = subprotocol
        self._hold = spec
        self._replayer = Replayer(recorder(spec))
        self._absence: Absence | None = None
        self._endurance = Endurance()
        self._redials = 0
        self.problem: str | None = None

    # What the splice asks.

    def watch(self, splice: Splice, pair: Pair) -> None:
        """Hear what the client says, and keep a Close of the backend's back until it is known what it means."""
        self._splice, self._pair = splice, pair
        if pair.backend is not None:
            pair.backend.scanner.withheld = b""
            self._replayer.listen(pair.backend)

    def bears(self, pair: Pair, code: int | None) -> bool:
        """A backend that restarts has nothing against its client; any other Close is what it says."""
        if code is not None and code not in RESTARTS:
            return False
        self.problem = self._problem(pair)
        return self.problem is None

    def _problem(self, pair: Pair) -> str | None:
        policy, backend = self._admission.policy, pair.backend
        if backend is None or backend.scanner.left or backend.scanner.in_message:
            return "it left amid a message for the client"
        if policy.spec.hold is None or why_not(policy, self._subprotocol) is not None:
            return "the policy in force does not hold"
        if self._env.is_draining():
            return "the guard is draining"
        return self._replayer.problem

    def hold(self) -> None:
        """The backend's half is nobody's from here on; what the client says is kept."""
        env, client = self._env, self._pair.client
        assert client is not None  # else the splice has not been open
        self._replayer.begin_anew()
        vacant = part(self._pair, env.loop, self._admission.policy.spec.rejection.close_timeout)
        now = env.clock.monotonic()
        self._hold = self._admission.policy.spec.hold or self._hold
        self._endurance.lost(now, self._hold.give_up_after)
        deadline = env.loop.call_later(self._endurance.left(now), self._expire)
        held = Held(client, vacant, self._hold.buffer, env.redialer, self._ask)
        vacant.transport = cast("asyncio.Transport", held)
        self._absence = Absence(now, held, deadline)
        connection = self._admission.connection
        env.observer.held(connection.id, connection.policy, connection.backend)
        env.redialer.enter(self)
        if held.mailbox.is_whole:
            self._ask()

    def release(self) -> None:
        """The connection ends: what was kept goes nowhere, and nobody listens any more."""
        self._replayer.stop()
        absence = self._end_absence()
        if absence is not None and self._pair.client is not None:
            self._pair.client.take_back(absence.held.mailbox.messages, len(absence.held.leave()))

    def renewed(self, identities: Sequence[Identity]) -> None:
        """What is judged again is judged of these."""
        self._case = renewed(self._case, identities)

    # What the redialer asks.

    def read_on(self) -> None:
        """There is room for what clients say, or no more."""
        if self._absence is not None:
            self._absence.held.read_on()

    def fail(self, error: Exception) -> None:
        """A bug must not keep anyone."""
        self._env.observer.fault("dialling again for a client that is held", error)
        self._splice.cut(CloseReason.GUARD_FAULT, f"a fault of the guard: {type(error).__name__}")

    async def redial(self) -> Outcome:
        """Judge again, dial, and prove the answer; then the client goes on."""
        outcome, problem = await self._redial()
        self._env.observer.redialled(self._admission.policy.name, outcome.value)
        if self._absence is not None and outcome is not Outcome.JOINED:
            self._absence.last_problem = problem
            if outcome is Outcome.REFUSED:
                self._give_up(problem)
        return outcome

    async def _redial(self) -> tuple[Outcome, str]:
        if self._absence is None or not self._may_return():
            return Outcome.FORBIDDEN, ""
        try:
            with self._env.backends.handshake() as backend:
                await self._go_to(backend, self._absence)
        except NoBackend as none:
            return none.outcome, str(none)
        return Outcome.JOINED, ""

    # A redial's parts.

    async def _go_to(self, backend: Backend, absence: Absence) -> None:
        """Bring the client to `backend`. Raises NoBackend."""
        env = self._env
        self._redials += 1
        absence.attempts += 1
        head = redial_request(self._head, self._redials)
        left = self._endurance.left(env.clock.monotonic())
        timeout = min(env.policies().guard.listener.handshake_timeout, max(left, 0.001))
        transport, early = await redial(env, backend, head, self._subprotocol, timeout)
        try:
            welcome, early = await self._replayer.greet(env.loop, transport, early, timeout)
        except Unwelcome as error:
            raise NoBackend(Outcome.REFUSED, str(error)) from None
        except (OSError, TimeoutError) as error:
            why = str(error) or "the backend did not answer a connection_init in time"
            raise NoBackend(Outcome.FAILED, why) from None
        if transport.is_closing():
            raise NoBackend(Outcome.FAILED, "the backend left at once")
        self._join(absence, transport, early if self._has_heard else welcome + early, backend.name)

    @property
    def _has_heard(self) -> bool:
        """Whether a backend has said anything to the client yet: an answer to its greeting then, before all else."""
        return self._pair.backend is not None and self._pair.backend.scanner.messages > 0

    def _may_return(self) -> bool:
        """Whether what is known of the client by now, and the policy in force, still let it in. Else it is cut.

        A drain has a place for it as for everyone; were it cut here, all who are held would be asked back together.
        """
        env, admission, splice = self._env, self._admission, self._splice
        for reason in admission.objections(self._case.now):
            if reason is not CloseReason.DRAINING:
                splice.cut(reason)
        if not self._is_held:
            return False
        again, decision = rejudge(self._case, env.policies(), env.clock.wall())
        policy = again.policy
        if isinstance(decision, Refuse) and not is_only_audited(again):
            admission.cut(policy, decision.reason, decision.detail)
        elif policy is None or why_not(policy, self._subprotocol) is not None:
            self._give_up("the policy in force does not hold")
        return self._is_held

    @property
    def _is_held(self) -> bool:
        return self._splice.state == Phase.HELD.value

    def _join(self, absence: Absence, transport: asyncio.Transport, early: bytes, name: str) -> None:
        """With the backend `name`: to it what is repeated, then what was kept; to the client first of all the hint."""
        client, backend, env = self._pair.client, self._pair.backend, self._env
        assert client is not None
        assert backend is not None  # a client that is held has the half of nobody for its other one
        self._end_absence()
        messages, kept_back = absence.held.mailbox.messages, absence.held.leave()
        said_again = list(self._replayer.messages)
        new = self._new_half()
        new.transport, new.scanner.withheld = transport, b""
        new.bytes_in, new.scanner.messages = backend.bytes_in, backend.scanner.messages
        transport.set_protocol(new)
        self._pair.join(client, new)
        transport.write(b"".join(said_again))
        self._replayer.listen(new)
        new.transport.write(kept_back)
        client.transport.write(hint(self._hold))
        now = env.clock.monotonic()
        self._endurance.back(now)
        self._admission.rejoin(name)
        repeated = len(said_again) + bool(self._replayer.greeting)
        env.observer.rejoined(absence.over(self._admission.connection, now, repeated, messages))
        self._splice.back(early)

    def _ask(self) -> None:
        self._env.redialer.ask(self, self._endurance.losses)

    def _expire(self) -> None:
        absence = self._absence
        if absence is not None:
            self._give_up(f"no other was had within {self._hold.give_up_after:g} s and {absence.why}")

    def _give_up(self, why: str) -> None:
        self._splice.give_up(f"the backend was lost, the client held: {why}")

    def _end_absence(self) -> Absence | None:
        absence, self._absence = self._absence, None
        if absence is not None:
            absence.deadline.cancel()
            self._env.redialer.leave(self)
        return absence
