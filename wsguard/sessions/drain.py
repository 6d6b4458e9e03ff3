"""How a crowd is sent away without a stampede: closes are spread over a window, and returns after them."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from wsguard.protocol.reasons import Advice
from wsguard.sessions.connection import Connection

FIRST_RETURN = 5.0
"""Seconds within which a client first comes back (RFC 6455 §7.2.3: a random delay of 0 to 5 s)."""

BACK_OFF = 5.0
"""Seconds that a client told to back off waits at least."""

RETURNS_PER_SECOND = 200
"""How many clients are asked back in a second when all of them end at the same moment."""


def schedule(connections: Iterable[Connection], window: float, rng: Random) -> tuple[tuple[float, Connection], ...]:
    """When to send each connection away: `(seconds from now, connection)`, in the order of time.

    The window (seconds) is cut into as many equal slots as there are connections; each gets a slot, whoever has been
    idle longest the first, and a random moment in it, so that the closes arrive flat. A window of 0 is all at once.
    """
    order = list(connections)
    rng.shuffle(order)
    order.sort(key=lambda connection: connection.link.last_message_at)
    slot = window / len(order) if order else 0.0
    return tuple(((place + rng.random()) * slot, connection) for place, connection in enumerate(order))


def grace_in(window: float, grace: float) -> float:
    """How long a hinted connection goes on in a drain over `window`, all in seconds: at most half of the window.

    Else the hints, which bring the clients back, would have no time left to be spread over.
    """
    return min(grace, window / 2)


def crowd(total: int, window: float) -> int:
    """How many of `total` that leave over `window` seconds are to be spread further by `retry_after`.

    None but oneself where the window does that already. The number is the same for the whole of a drain: were it who
    is left, the last would be asked back first, on top of those before them.
    """
    return 1 if total <= window * RETURNS_PER_SECOND else total


def retry_after(rng: Random, advice: Advice, population: int = 1, least: float = 0.0) -> float | None:
    """Seconds a client is asked to wait before it returns, to a hundredth; None where it is not asked back.

    `population` is how many connections there are that may end together: the more, the wider the spread. `least` is
    seconds that are too few in any case.
    """
    if not advice.wants_return:
        return None
    earliest = max(BACK_OFF if advice is Advice.BACK_OFF else 0.0, least)
    return round(earliest + rng.random() * max(FIRST_RETURN, population / RETURNS_PER_SECOND), 2)
