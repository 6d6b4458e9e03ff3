"""What a policy says when it closes: the codebook of its `rejection`, and when to come back."""

from __future__ import annotations

from random import Random

from wsguard.policy.model import Detail, GuardSpec, Rejection
from wsguard.protocol.closing import Codebook
from wsguard.protocol.profiles import advice_for
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy.endings import Close
from wsguard.sessions.drain import retry_after


def word(
    reason: CloseReason,
    rejection: Rejection,
    guard: GuardSpec,
    rng: Random,
    *,
    population: int = 1,
    status: int | None = None,
    wait: float = 0.0,
) -> Close:
    """The Close for `reason`. `population`: how many connections there are, so that returns are spread;
    `status`: the HTTP status of a backend that refused; `wait`: seconds before which it would be the same again.
    """
    book = Codebook(
        profile=rejection.profile,
        overrides=rejection.codes,
        coarse=rejection.detail is Detail.COARSE,
        draining_code=guard.shutdown.close_code,
    )
    when = retry_after(rng, advice_for(reason, status), population, wait)
    return Close(book.code(reason, status), book.text(reason, status, when))
