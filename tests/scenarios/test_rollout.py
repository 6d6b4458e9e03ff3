"""A rolling deploy under clients that number their messages: each has its next connection before the old one closes.

The same with 1,000 clients, without wsguard, and with replicas that are killed is `python -m benchmarks rollout`.
"""

from __future__ import annotations

from benchmarks.rollout import REPLICAS, Scale, deploy
from benchmarks.rollout_report import Manner

CLIENTS = 60


async def test_nobody_is_dropped_and_no_message_is_lost_or_doubled() -> None:
    found = await deploy(Manner.DRAINED, Scale(CLIENTS, window=3.0, every=0.5, grace=1.0, rest=1.0))
    assert found.unbroken == CLIENTS
    assert found.overlapped == found.moves >= CLIENTS
    assert (found.up.lost, found.up.duplicated, found.down.lost, found.down.duplicated) == (0, 0, 0, 0)
    assert found.gaps == 0
    assert found.codes == {"1012": found.moves}
    assert min(found.up.sent, found.down.sent) > 10 * CLIENTS
    assert found.dropped, "the overlap brings messages twice, or nothing was shown"
    assert len(found.steps) == REPLICAS
    assert all(most < total for step in found.steps for total, most in (step.closes, step.opens)), "spread"
