"""The life of one connection, as a table: phase × event → phase, commands.

Everything that decides what happens next to a connection is in TABLE; whoever carries it out (the splice) decides
nothing. The rules, which tests/sessions/test_lifecycle.py checks over every sequence of events:

1. It ends once, and nothing is commanded after the end.
2. Each side gets at most one Close: the other side's, passed on, or the guard's.
3. Outside DOOR and OPEN a timer is always armed, so that no silent peer can keep a connection. HELD has one of its own,
   which HOLD begins; what it comes to is GIVE_UP.
4. A pair that the table lacks cannot happen or means nothing there: the phase stays and nothing is commanded.

It sees a handful of events a connection, and never a frame.
"""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """Where a connection stands; the value is the word in logs and in the control API."""

    __hash__ = object.__hash__  # members are single objects; Enum's own hash is Python code, run at each look-up

    DOOR = "door"  # the handshake: nothing is open yet
    OPEN = "open"
    HELD = "held"  # the backend is gone; the client stays while another one is looked for (`backendLoss: Hold`)
    CLIENT_CLOSING = "client-closing"  # the client's Close went on to the backend, whose reply is awaited
    BACKEND_CLOSING = "backend-closing"  # the same, the other way round
    HALF_CLOSED = "half-closed"  # the client sent a FIN and no Close; the backend may still have something to say
    CLOSING = "closing"  # no frame goes on any more; Closes are under way, the ends of TCP are awaited
    CLIENT_LEFT = "client-left"  # only the client's transport is left
    BACKEND_LEFT = "backend-left"  # only the backend's transport is left
    ENDED = "ended"


class Event(Enum):
    """What can happen to a connection."""

    __hash__ = object.__hash__

    OPEN = "open"  # admitted, and the backend has agreed
    CUT = "cut"  # the guard ends it: a refusal, an expiry, a logout, a drain, a limit
    CLIENT_CLOSE = "client-close"  # a Close frame, whole, from the client
    BACKEND_CLOSE = "backend-close"
    CLIENT_EOF = "client-eof"  # TCP FIN: nothing more will come from there
    BACKEND_EOF = "backend-eof"
    CLIENT_LOST = "client-lost"  # the transport is gone
    BACKEND_LOST = "backend-lost"
    BACKEND_GONE = "backend-gone"  # in whichever way, and the client is held
    BACK = "back"  # a held client has a backend again
    GIVE_UP = "give-up"  # it will not have one
    TIMER = "timer"


class Command(Enum):
    """What the splice is told to do."""

    __hash__ = object.__hash__

    CLOSE_CLIENT = "close-client"  # stop passing frames to it at the next boundary, then send the cut's Close
    CLOSE_BACKEND = "close-backend"
    HANG_UP_CLIENT = "hang-up-client"  # whatever is queued, then FIN; keep reading until it does the same
    HANG_UP_BACKEND = "hang-up-backend"
    END_BACKEND_INPUT = "end-backend-input"  # mirror the client's FIN; the other direction stays open
    ABORT_CLIENT = "abort-client"
    ABORT_BACKEND = "abort-backend"
    ARM_GRACE = "arm-grace"  # rejection.closeTimeout
    ARM_PATIENCE = "arm-patience"  # the longer bound for an ending that the peers chose
    HOLD = "hold"  # keep what the client says, and dial again, for hold.giveUpAfter at most
    RELEASE = "release"  # no more of that
    RECORD = "record"  # before an abort: it drops what could have told whether the Close got out


P, E, C = Phase, Event, Command
Step = tuple[Phase, tuple[Command, ...]]

TABLE: dict[tuple[Phase, Event], Step] = {
    # The door. A refusal, the guard's or the backend's, is a cut that finds no backend.
    (P.DOOR, E.OPEN): (P.OPEN, ()),
    (P.DOOR, E.CUT): (P.CLIENT_LEFT, (C.ARM_GRACE,)),
    # Open: frames pass.
    (P.OPEN, E.CUT): (P.CLOSING, (C.CLOSE_CLIENT, C.CLOSE_BACKEND, C.ARM_GRACE)),
    (P.OPEN, E.CLIENT_CLOSE): (P.CLIENT_CLOSING, (C.ARM_PATIENCE,)),
    (P.OPEN, E.BACKEND_CLOSE): (P.BACKEND_CLOSING, (C.ARM_PATIENCE,)),
    (P.OPEN, E.CLIENT_EOF): (P.HALF_CLOSED, (C.END_BACKEND_INPUT, C.ARM_PATIENCE)),
    (P.OPEN, E.BACKEND_EOF): (P.CLOSING, (C.CLOSE_CLIENT, C.HANG_UP_BACKEND, C.ARM_GRACE)),
    (P.OPEN, E.CLIENT_LOST): (P.BACKEND_LEFT, (C.HANG_UP_BACKEND, C.ARM_GRACE)),
    (P.OPEN, E.BACKEND_LOST): (P.CLIENT_LEFT, (C.CLOSE_CLIENT, C.ARM_GRACE)),
    # The client is held: of a backend that has gone nothing comes any more, and there is none to tell.
    (P.OPEN, E.BACKEND_GONE): (P.HELD, (C.HOLD,)),
    (P.HELD, E.BACK): (P.OPEN, ()),
    (P.HELD, E.GIVE_UP): (P.CLIENT_LEFT, (C.RELEASE, C.CLOSE_CLIENT, C.ARM_GRACE)),
    (P.HELD, E.CUT): (P.CLIENT_LEFT, (C.RELEASE, C.CLOSE_CLIENT, C.ARM_GRACE)),
    (P.HELD, E.CLIENT_CLOSE): (P.CLIENT_LEFT, (C.RELEASE, C.CLOSE_CLIENT, C.HANG_UP_CLIENT, C.ARM_GRACE)),
    (P.HELD, E.CLIENT_EOF): (P.CLIENT_LEFT, (C.RELEASE, C.HANG_UP_CLIENT, C.ARM_GRACE)),
    (P.HELD, E.CLIENT_LOST): (P.ENDED, (C.RELEASE, C.RECORD)),
    # The client said Close. RFC 6455 §7.1.1: the server, here the guard, closes TCP first. A client that leaves behind
    # its Close is lost, over TLS at once, and the backend has all the time to read that it had.
    (P.CLIENT_CLOSING, E.BACKEND_CLOSE): (P.CLOSING, (C.HANG_UP_CLIENT, C.ARM_GRACE)),
    (P.CLIENT_CLOSING, E.BACKEND_EOF): (P.CLOSING, (C.HANG_UP_CLIENT, C.HANG_UP_BACKEND, C.ARM_GRACE)),
    (P.CLIENT_CLOSING, E.BACKEND_LOST): (P.CLIENT_LEFT, (C.HANG_UP_CLIENT, C.ARM_GRACE)),
    (P.CLIENT_CLOSING, E.CLIENT_LOST): (P.BACKEND_LEFT, (C.HANG_UP_BACKEND,)),
    (P.CLIENT_CLOSING, E.CUT): (P.CLOSING, (C.CLOSE_CLIENT, C.ARM_GRACE)),
    (P.CLIENT_CLOSING, E.TIMER): (P.ENDED, (C.RECORD, C.ABORT_CLIENT, C.ABORT_BACKEND)),
    # The backend said Close; many servers close TCP at once behind it, and the client's reply finds nobody. Over TLS
    # they are lost with that, and the client has all the time to read that it had.
    (P.BACKEND_CLOSING, E.CLIENT_CLOSE): (P.CLOSING, (C.HANG_UP_CLIENT, C.ARM_GRACE)),
    (P.BACKEND_CLOSING, E.CLIENT_EOF): (P.CLOSING, (C.HANG_UP_CLIENT, C.HANG_UP_BACKEND, C.ARM_GRACE)),
    (P.BACKEND_CLOSING, E.CLIENT_LOST): (P.BACKEND_LEFT, (C.HANG_UP_BACKEND, C.ARM_GRACE)),
    (P.BACKEND_CLOSING, E.BACKEND_LOST): (P.CLIENT_LEFT, ()),
    (P.BACKEND_CLOSING, E.CUT): (P.CLOSING, (C.CLOSE_BACKEND, C.ARM_GRACE)),
    (P.BACKEND_CLOSING, E.TIMER): (P.ENDED, (C.RECORD, C.ABORT_CLIENT, C.ABORT_BACKEND)),
    # The client sent FIN without a Close: it may still read, so the backend may finish what it says.
    (P.HALF_CLOSED, E.BACKEND_CLOSE): (P.CLOSING, (C.HANG_UP_CLIENT, C.HANG_UP_BACKEND, C.ARM_GRACE)),
    (P.HALF_CLOSED, E.BACKEND_EOF): (P.CLOSING, (C.HANG_UP_CLIENT, C.HANG_UP_BACKEND, C.ARM_GRACE)),
    (P.HALF_CLOSED, E.BACKEND_LOST): (P.CLIENT_LEFT, (C.HANG_UP_CLIENT, C.ARM_GRACE)),
    (P.HALF_CLOSED, E.CLIENT_LOST): (P.BACKEND_LEFT, (C.HANG_UP_BACKEND, C.ARM_GRACE)),
    (P.HALF_CLOSED, E.CUT): (P.CLOSING, (C.CLOSE_CLIENT, C.HANG_UP_BACKEND, C.ARM_GRACE)),
    (P.HALF_CLOSED, E.TIMER): (P.ENDED, (C.RECORD, C.ABORT_CLIENT, C.ABORT_BACKEND)),
    # Closing: replies and FINs come in any order.
    (P.CLOSING, E.CLIENT_CLOSE): (P.CLOSING, (C.HANG_UP_CLIENT,)),
    (P.CLOSING, E.BACKEND_CLOSE): (P.CLOSING, (C.HANG_UP_BACKEND,)),
    (P.CLOSING, E.CLIENT_EOF): (P.CLOSING, (C.HANG_UP_CLIENT,)),
    (P.CLOSING, E.BACKEND_EOF): (P.CLOSING, (C.HANG_UP_BACKEND,)),
    (P.CLOSING, E.CLIENT_LOST): (P.BACKEND_LEFT, (C.HANG_UP_BACKEND,)),
    (P.CLOSING, E.BACKEND_LOST): (P.CLIENT_LEFT, ()),
    (P.CLOSING, E.TIMER): (P.ENDED, (C.RECORD, C.ABORT_CLIENT, C.ABORT_BACKEND)),
    # One side is left.
    (P.CLIENT_LEFT, E.CLIENT_CLOSE): (P.CLIENT_LEFT, (C.HANG_UP_CLIENT,)),
    (P.CLIENT_LEFT, E.CLIENT_EOF): (P.CLIENT_LEFT, (C.HANG_UP_CLIENT,)),
    (P.CLIENT_LEFT, E.CLIENT_LOST): (P.ENDED, (C.RECORD,)),
    (P.CLIENT_LEFT, E.TIMER): (P.ENDED, (C.RECORD, C.ABORT_CLIENT)),
    (P.BACKEND_LEFT, E.BACKEND_CLOSE): (P.BACKEND_LEFT, (C.HANG_UP_BACKEND,)),
    (P.BACKEND_LEFT, E.BACKEND_EOF): (P.BACKEND_LEFT, (C.HANG_UP_BACKEND,)),
    (P.BACKEND_LEFT, E.BACKEND_LOST): (P.ENDED, (C.RECORD,)),
    (P.BACKEND_LEFT, E.TIMER): (P.ENDED, (C.RECORD, C.ABORT_BACKEND)),
}


def step(phase: Phase, event: Event) -> Step:
    """What `event` leads to in `phase` (rule 4: nothing, where the table has no such pair)."""
    return TABLE.get((phase, event), (phase, ()))
