"""Two halves, one fate: carries out what the state table says about one connection.

Decides nothing itself: events go into `sessions.lifecycle`, commands come out. Most of them are for its teardown, which
is told of every cause as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from wsguard.protocol.reasons import CloseReason
from wsguard.proxy.endings import Close, Owner
from wsguard.proxy.half import Half
from wsguard.proxy.interjection import Speak, interject
from wsguard.proxy.keeper import Keeper
from wsguard.proxy.pair import Pair
from wsguard.proxy.rest import Rest
from wsguard.proxy.teardown import Teardown
from wsguard.sessions.connection import Traffic
from wsguard.sessions.lifecycle import Command, Event, Phase, step

_PASSING = frozenset((Phase.OPEN, Phase.HELD, Phase.CLIENT_CLOSING, Phase.BACKEND_CLOSING, Phase.HALF_CLOSED))


class Splice:
    """One connection from its verdict to its end. Implements `sessions.connection.Link`."""

    __slots__ = (
        "_clock",
        "_keeper",
        "_loop",
        "_owner",
        "_pair",
        "_phase",
        "_rest",
        "_teardown",
        "last_message_at",
    )

    def __init__(
        self,
        owner: Owner,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        close_timeout: float,
    ) -> None:
        """`clock` is monotonic seconds; `close_timeout` is the grace of a cut, in seconds."""
        self._owner = owner
        self._loop = loop
        self._clock = clock
        self._phase = Phase.DOOR
        self._pair = Pair()
        self._teardown = Teardown(owner, self._pair, loop, close_timeout)
        self._rest: Rest | None = None
        self._keeper: Keeper | None = None
        self.last_message_at = clock()

    # What the registry, a deadline or an operator asks (sessions.connection.Link).

    @property
    def state(self) -> str:
        """The phase, as a word."""
        return self._phase.value

    def traffic(self) -> Traffic:
        """What has passed so far."""
        return self._pair.traffic()

    def cut(self, reason: CloseReason, detail: str = "", crowd: int | None = None) -> None:
        """End the connection for `reason`; the first cause wins. `crowd`: as in `leave`, None: whoever is here."""
        if self._phase is not Phase.ENDED and self._teardown.cut(self._phase, reason, detail, crowd):
            self._on(Event.CUT)

    def leave(self, reason: CloseReason, goodbye: bytes = b"", crowd: int = 1) -> None:
        """End the connection between two messages of either side, or as soon as that has taken too long."""
        halves = self.halves()
        if halves is None:
            self.cut(reason, crowd=crowd)
        elif all(half.scanner.is_at_rest for half in halves):
            self._depart(reason, goodbye, crowd)
        elif self._rest is None:
            self._rest = Rest(halves, self._loop, lambda: self._depart(reason, goodbye, crowd))

    def interject(self, speak: Speak) -> None:
        """Send the client a message of the guard's own, as soon as none of the backend's is under way."""
        if self._phase in (Phase.OPEN, Phase.HELD) and self._pair.backend is not None:
            interject(self._pair.backend, speak)

    def halves(self) -> tuple[Half, Half] | None:
        """The client's and the backend's, while frames pass between them."""
        client, backend = self._pair.client, self._pair.backend
        return (client, backend) if self._phase is Phase.OPEN and client is not None and backend is not None else None

    def vanished(self, half: Half, detail: str) -> None:
        """The peer of `half` answers no more: it is lost, though TCP has not said so."""
        if self._phase is not Phase.OPEN or self._owner.close_for(CloseReason.KEEPALIVE_TIMEOUT) is None:
            return
        if self._is_held(half):
            return
        self._blame(half, detail, CloseReason.KEEPALIVE_TIMEOUT)
        half.abort()

    # Beginnings: both write the 101, so that nothing can come before it.

    def open(self, client: Half, backend: Half, answer: bytes) -> None:
        """Join both halves and answer the client; neither is read before `begin`."""
        self._pair.join(client, backend)
        client.transport.write(answer)
        self._on(Event.OPEN)

    def begin(self, from_backend: bytes, from_client: bytes) -> None:
        """Let frames pass, first those that each side sent behind its part of the handshake."""
        self._pair.begin(from_backend, from_client)

    def keep(self, keeper: Keeper) -> None:
        """From now on `keeper` holds the client where the backend is lost."""
        self._keeper = keeper
        keeper.watch(self, self._pair)

    def back(self, from_backend: bytes) -> None:
        """The pair is whole again: go on, with what the backend sent behind its part of the handshake."""
        self._on(Event.BACK)
        self._pair.begin(from_backend, b"")

    def give_up(self, why: str) -> None:
        """A client that is held will have no backend any more."""
        self._teardown.backend_lost(self._phase, why)
        self._on(Event.GIVE_UP)

    def refuse(self, client: Half, answer: bytes, reason: CloseReason, close: Close, early: bytes) -> None:
        """Accept, then close in the same write; whatever the client sends is read and discarded until it is done."""
        self._pair.client = client
        client.transport.write(answer + self._teardown.refused(self._phase, reason, close))
        self._on(Event.CUT)
        if early:
            client.data_received(early)
        client.resume()

    # What the halves report.

    def other(self, half: Half) -> Half | None:
        """The opposite half, or None."""
        return self._pair.other(half)

    def touch(self) -> None:
        """A data message, or a part of a long one, has passed."""
        self.last_message_at = self._clock()

    def halted(self, half: Half) -> None:
        """The scanner of `half` saw a Close, or a violation: everything before it has been passed on."""
        scanner = half.scanner
        behind = scanner.behind_own_pong()
        if behind is not None:  # nothing has ended: a ping of the guard's own was answered
            if behind:
                half.data_received(behind)
            return
        code, scanner.close_code = scanner.close_code, None  # told once
        if scanner.violation is not None:
            self.cut(CloseReason.PROTOCOL_ERROR, _said(half, scanner.violation))
            self._pair.hang_up(half)  # its reply could not be recognised among whatever else it sends
        if code is None:
            return
        if self._is_held(half, code):
            return
        if not half.is_client:
            self._pair.pass_on_close(half)
        self._teardown.closed(self._phase, half, code)
        self._on(Event.CLIENT_CLOSE if half.is_client else Event.BACKEND_CLOSE)

    def injected(self, half: Half) -> None:
        """The Close that waited for a boundary of `half` is on its way to the other side."""
        self._teardown.injected(half)

    def eof(self, half: Half) -> None:
        """The peer of `half` sent its FIN."""
        if self._is_held(half):
            return
        self._blame(half, "sent a FIN and no Close")
        self._on(Event.CLIENT_EOF if half.is_client else Event.BACKEND_EOF)

    def lost(self, half: Half, exc: Exception | None) -> None:
        """The transport of `half` is gone."""
        if self._is_held(half):
            return
        other = self._pair.other(half)
        if other is not None and other.sink is half:
            other.discard()
        self._pair.give_up_boundary(half)
        self._blame(half, f"was lost: {exc}" if exc else "hung up without a Close")
        if half.is_client and exc is not None:
            self._teardown.client_was_reset()
        self._on(Event.CLIENT_LOST if half.is_client else Event.BACKEND_LOST)

    def exceeded(self, reason: CloseReason, detail: str) -> bool:
        """A limit of the policy's is reached; whether the connection is cut for it."""
        self.cut(reason, detail)
        return self._teardown.has_close

    def throttles(self, reason: CloseReason) -> bool:
        """A peer is about to be held back; whether its policy means it."""
        return self._owner.throttles(reason)

    # The table, and its commands.

    def _on(self, event: Event) -> None:
        self._phase, commands = step(self._phase, event)
        if self._phase not in _PASSING:
            # A Close of ours for one side goes through what the other has sent.
            self._pair.discard(
                client=Command.CLOSE_BACKEND not in commands, backend=Command.CLOSE_CLIENT not in commands
            )
        for command in commands:
            _COMMANDS[command](self)
        if self._phase is not Phase.OPEN:
            self._end_rest()
        if self._phase is Phase.ENDED:
            self._release()
            self._pair.let_go()
            self._keeper = None

    def _depart(self, reason: CloseReason, goodbye: bytes, crowd: int) -> None:
        halves = self.halves()
        if halves is not None and goodbye:
            client, backend = halves
            if backend.scanner.takes_a_message and not client.eof_sent:
                client.transport.write(goodbye)
        self.cut(reason, crowd=crowd)
        self._end_rest()  # where the owner does not want it cut, it goes on

    def _end_rest(self) -> None:
        rest, self._rest = self._rest, None
        if rest is not None:
            rest.release()

    def _blame(self, half: Half, how: str, reason: CloseReason | None = None) -> None:
        problem = None if half.is_client or self._keeper is None else self._keeper.problem
        self._teardown.left(self._phase, half, how + (f"; not held: {problem}" if problem else ""), reason)

    def _is_held(self, half: Half, code: int | None = None) -> bool:
        """Whether what ends with `half` is the backend's side alone; `code` is that of its Close."""
        if self._keeper is None or half.is_client or self._phase is not Phase.OPEN or self._rest is not None:
            return False
        if not self._keeper.bears(self._pair, code):
            return False
        self._on(Event.BACKEND_GONE)
        return True

    def _hold(self) -> None:
        if self._keeper is not None:
            self._keeper.hold()

    def _release(self) -> None:
        if self._keeper is not None:
            self._keeper.release()


_COMMANDS: dict[Command, Callable[[Splice], None]] = {
    Command.CLOSE_CLIENT: lambda splice: splice._teardown.close_client(),
    Command.CLOSE_BACKEND: lambda splice: splice._teardown.close_backend(),
    Command.HANG_UP_CLIENT: lambda splice: splice._pair.hang_up(splice._pair.client),
    Command.HANG_UP_BACKEND: lambda splice: splice._pair.hang_up(splice._pair.backend),
    Command.END_BACKEND_INPUT: lambda splice: splice._pair.end_backend_input(),
    Command.ABORT_CLIENT: lambda splice: splice._pair.abort(splice._pair.client),
    Command.ABORT_BACKEND: lambda splice: splice._pair.abort(splice._pair.backend),
    Command.ARM_GRACE: lambda splice: splice._teardown.arm_grace(splice._on),
    Command.ARM_PATIENCE: lambda splice: splice._teardown.arm_patience(splice._on),
    Command.HOLD: Splice._hold,
    Command.RELEASE: Splice._release,
    Command.RECORD: lambda splice: splice._teardown.record(),
}


def _said(half: Half, violation: str) -> str:
    article = "an" if violation[0] in "aeiou" else "a"
    return f"{'client' if half.is_client else 'backend'} sent {article} {violation}"
