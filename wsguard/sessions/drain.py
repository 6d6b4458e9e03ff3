"""How a crowd is sent away without a stampede: closes are spread over a window, and returns after them."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from wsguard.protocol.reasons import Advice

FIRST_RETURN = 5.0
"""Seconds within which a client first comes back (RFC 6455 §7.2.3: a random delay of 0 to 5 s)."""

BACK_OFF = 5.0
"""Seconds that a client told to back off waits at least."""

RETURNS_PER_SECOND = 200
"""How many clients are asked back in a second when all of them end at the same moment."""


def schedule(ids: Iterable[str], window: float, rng: Random) -> tuple[tuple[float, str], ...]:
    """When to close each connection: `(seconds from now, id)`, in the order of time.

    The window (seconds) is cut into as many equal slots as there are connections; each gets a slot at random
    and a random moment in it, so that the closes arrive flat. A window of 0 closes all at once.
    """
    order = list(ids)
    rng.shuffle(order)
    slot = window / len(order) if order else 0.0
    return tuple(((place + rng.random()) * slot, connection_id) for place, connection_id in enumerate(order))


def retry_after(rng: Random, advice: Advice, population: int = 1) -> float | None:
    """Seconds a client is asked to wait before it returns, to a hundredth; None where it is not asked back.

    `population` is how many connections there are that may end together: the more, the wider the spread.
    """
    if not advice.wants_return:
        return None
    earliest = BACK_OFF if advice is Advice.BACK_OFF else 0.0
    return round(earliest + rng.random() * max(FIRST_RETURN, population / RETURNS_PER_SECOND), 2)
