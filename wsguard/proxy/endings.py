"""How a connection ends, as values, and who is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.connection import Traffic
from wsguard.sessions.lifecycle import Phase
from wsguard.sessions.records import Delivery, Initiator


@dataclass(frozen=True, slots=True)
class Cause:
    """What ended a connection, fixed when it struck. `code` is on the wire, the peer's own where it closed."""

    initiator: Initiator
    reason: CloseReason
    code: int
    detail: str
    phase: Phase


@dataclass(frozen=True, slots=True)
class Close:
    """A Close of the guard's own: the code and reason text for the client."""

    code: int
    text: str


class Owner(Protocol):
    """What a splice asks of whoever made it."""

    def close_for(self, reason: CloseReason, crowd: int | None = None) -> Close | None:
        """The words of a cut; None: this policy only audits, and the cut is not to happen.

        `crowd` is how many are asked back together; None: everyone who is connected.
        """
        ...

    def throttles(self, reason: CloseReason) -> bool:
        """Whether a client that is over the limit called `reason` is to be held back; asked once a limit."""
        ...

    def ended(self, cause: Cause, delivery: Delivery, traffic: Traffic) -> None:
        """The connection is over: called exactly once."""
        ...
