"""A storm that goes on for minutes: three guards over one engine, wave after wave of faults and log-outs.

    python -m benchmarks.soak --minutes 10 --seed 1 --engine nats --links cables

Ends with status 1 where, once everything was back, a socket lived whose session had ended or another was cut. The seed
is printed, with what the guards hold after each wave and how long a Close took.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import time
from pathlib import Path

from tests.contracts.engines import Nats, Redis
from tests.scenarios.storm import Storm, worst
from tests.scenarios.storm_links import Site, site
from tests.scenarios.storm_plan import plan
from tests.support.backend import RecordingBackend
from tests.support.guard import Guard
from tests.support.network import why_not
from tests.support.waiting import eventually

ENGINES = {"redis": Redis, "nats": Nats}
WAVE = 30.0  # seconds of log-outs
CALM = 10.0  # of them at the beginning, in which nothing breaks


def main() -> int:
    """Parse the command line and run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long; the wave under way is finished")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--engine", choices=ENGINES, default="redis")
    parser.add_argument("--links", choices=("relays", "cables"), default="relays", help="cables: only root can")
    parser.add_argument("--guards", type=int, default=3)
    parser.add_argument("--users", type=int, default=60, help="of each wave, with two sessions each")
    options = parser.parse_args()
    print(" ".join(f"--{name} {value}" for name, value in vars(options).items()), flush=True)
    failures: list[BaseException] = []
    try:
        asyncio.run(soak(options))
    except* AssertionError as group:
        failures += group.exceptions
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    return 1 if failures else 0


async def soak(options: argparse.Namespace) -> None:
    """Wave after wave until the time is up. Raises AssertionError, in a group, where the claim does not hold."""
    cables = options.links == "cables"
    if cables and (why := await why_not()) is not None:
        raise SystemExit(f"no cables here: {why}")
    rng = random.Random(options.seed)
    healthy: list[float] = []
    after_outage: list[float] = []
    until = time.monotonic() + options.minutes * 60
    async with (
        RecordingBackend() as backend,
        site(ENGINES[options.engine], backend, options.guards, cables=cables) as there,
    ):
        number = 0
        while time.monotonic() < until:
            number += 1
            planned = plan(rng, WAVE, options.users, options.guards, calm=CALM)
            storm = Storm(planned, f"wave{number}", there.engine, there.guards, there.links)
            await storm.run()
            healthy += storm.healthy
            after_outage += storm.after_outage
            backend.conversations.clear()
            backend.requests.clear()
            print(f"wave {number}: {len(planned.troubles)} faults; {await held(there)}", flush=True)
    print(f"slowest Close: {worst(healthy)} where all was well, {worst(after_outage)} from when all was back")


async def held(there: Site) -> str:
    """What each guard has after its clients have left."""
    for guard in there.guards:
        await eventually(guard.is_idle, 30, "the clients have left")
    return "; ".join([await _held(guard) for guard in there.guards])


async def _held(guard: Guard) -> str:
    process = Path(f"/proc/{guard.program.pid}")
    pss = next(line for line in (process / "smaps_rollup").read_text().splitlines() if line.startswith("Pss:"))
    descriptors = len(os.listdir(process / "fd"))
    entries = await guard.metric("wsguard_deny_list_entries")
    return f"{int(pss.split()[1]) / 1024:.0f} MiB, {descriptors} descriptors, {entries:.0f} log-outs remembered"


if __name__ == "__main__":
    sys.exit(main())
