"""Three replicas in a storm: log-outs told to any of them while guards, the engine and the links die and come back.

`python -m benchmarks.soak` is the long one.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.contracts.engines import Engine, Nats, Redis
from tests.scenarios.storm import Storm, worst
from tests.scenarios.storm_links import site
from tests.scenarios.storm_plan import plan
from tests.support.backend import RecordingBackend
from tests.support.network import why_not


@pytest.mark.parametrize(("kind", "cables"), [(Redis, False), (Nats, True)], ids=["redis-relays", "nats-cables"])
async def test_after_a_storm_nobody_lives_whose_session_ended_and_nobody_else_was_cut(
    kind: type[Engine], cables: bool, backend: RecordingBackend
) -> None:
    seed = int(os.environ.get("WSGUARD_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"WSGUARD_SEED={seed}")  # pytest shows it where the test fails
    cables = cables and await why_not() is None
    async with site(kind, backend, guards=3, cables=cables) as there:
        planned = plan(random.Random(seed), seconds=4.5, users=18, guards=3, longest=3.0)
        storm = Storm(planned, "user", there.engine, there.guards, there.links)
        await storm.run()
        print(f"Close after {worst(storm.healthy)} where all was well, {worst(storm.after_outage)} after an outage")
