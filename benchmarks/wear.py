"""A guard among peers that fail at random, for as long as it takes to see whether it wears out.

    python -m benchmarks.wear --minutes 60 --seed 1

Visitors come, talk, and leave in every way there is (tests/proxy/faults.py); the backend fails as often; an operator
logs people out, ends connections and has the policies read again. Every minute prints what the guard holds. Ends with
status 1 where at the end a descriptor or a task is left over, a connection is not accounted for exactly once (admitted
= closed by reason + live), or memory still grows.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.wear_visits import Visitor, moody
from tests.support.backend import RecordingBackend
from tests.support.guard import JWT, Guard, policy
from tests.support.waiting import eventually

SAMPLE = 5.0  # seconds between two looks at what the guard holds
GROWTH = 1.05  # of memory, from the run's second quarter to its last, which still counts as none
SLACK = 2.0  # MiB beside it: what the allocator does

POLICY = policy(
    JWT
    + """
streams: [WebSocket, ServerSentEvents, LongPolling]
session: {maxConnectionDuration: 30s, idleTimeout: 6s, clockSkew: 0s}
limits:
  connections: {total: 30, perSubject: 5, onExceed: CloseOldest}
  messages: {perConnection: {requests: 40, unit: Second, burst: 60}, onExceed: Throttle}
  maxMessageSize: 256Ki
  slowConsumer: {maxPause: 1s}
keepAlive: {clientPingInterval: 2s, backendPingInterval: 2s, timeout: 1s}
rejection: {closeTimeout: 1s}
"""
)
GUARD = """
apiVersion: wsguard.dev/v1
kind: GuardConfig
spec:
  listener: {handshakeTimeout: 2s, bodyTimeout: 5s}
  overload: {maxConnections: 200}
  logging: {level: error}
"""


@dataclass(frozen=True, slots=True)
class Held:
    """What the guard holds at one moment.

    `memory` in MiB is what it alone has, "Anonymous" in proc_pid_smaps(5): its share of the libraries that it has in
    common with every other Python grows when one of those ends.
    """

    memory: float
    descriptors: int
    tasks: int
    live: int
    admitted: int
    closed: int

    def __str__(self) -> str:
        return (
            f"{self.memory:.1f} MiB, {self.descriptors} descriptors, {self.tasks} tasks, "
            f"{self.live} live, {self.admitted} admitted = {self.closed} closed + {self.admitted - self.closed}"
        )


def main() -> int:
    """Parse the command line and run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wear", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--visitors", type=int, default=40, help="how many are there at a time")
    options = parser.parse_args()
    print(" ".join(f"--{name} {value}" for name, value in vars(options).items()), flush=True)
    problems = asyncio.run(wear(options.minutes * 60, options.seed, options.visitors))
    for problem in problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    return 1 if problems else 0


async def wear(seconds: float, seed: int, visitors: int) -> list[str]:
    """Run for so long; the sentences that say what is wrong at the end."""
    rng = random.Random(seed)
    async with RecordingBackend(moody(rng)) as backend, Guard(backend, {"p.yaml": POLICY, "g.yaml": GUARD}) as guard:
        fresh = await _settled(guard)
        crowd = [Visitor(guard, random.Random(rng.random())) for _ in range(visitors)]
        until = time.monotonic() + seconds
        working = [
            asyncio.create_task(work) for work in (*(v.visit(until) for v in crowd), _operate(guard, rng, until))
        ]
        samples = await _watch(guard, backend, until)
        await asyncio.gather(*working)
        visits = sum((visitor.visits for visitor in crowd), start=type(crowd[0].visits)())
        print(", ".join(f"{count} {kind}" for kind, count in sorted(visits.items())), flush=True)
        await eventually(guard.is_idle, 60.0, "the last visitors have left")
        at_rest = await _at_rest(guard, fresh)
    print(f"before {fresh}\nafter  {at_rest}", flush=True)
    return _judge(fresh, at_rest, [held.memory for held in samples])


async def _settled(guard: Guard) -> Held:
    """What it holds once everything is begun: a reload shows that the files are watched."""
    guard.write("p.yaml", POLICY + "# seen\n")

    async def is_reloaded() -> bool:
        return await guard.metric("wsguard_policy_reloads_total") > 1

    await eventually(is_reloaded, what="a reload")
    return await _look(guard)


def _judge(fresh: Held, at_rest: Held, memory: list[float]) -> list[str]:
    problems = []
    if at_rest.admitted != at_rest.closed or at_rest.live:
        problems.append(f"{at_rest.admitted} were admitted, {at_rest.closed} closed, {at_rest.live} live")
    if at_rest.descriptors > fresh.descriptors:
        problems.append(f"{at_rest.descriptors} descriptors, at first {fresh.descriptors}")
    if at_rest.tasks > fresh.tasks:
        problems.append(f"{at_rest.tasks} tasks, at first {fresh.tasks}")
    if (quarter := len(memory) // 4) == 0:
        return problems
    early, late = median(memory[quarter : 2 * quarter]), median(memory[-quarter:])
    print(f"memory {early:.1f} MiB in the second quarter, {late:.1f} MiB in the last", flush=True)
    if late > early * GROWTH + SLACK:
        problems.append(f"memory grew from {early:.1f} to {late:.1f} MiB")
    return problems


async def _at_rest(guard: Guard, fresh: Held) -> Held:
    """What is held once everybody has gone, and kept-alive connections to the backend have run out."""
    held = await _look(guard)
    until = time.monotonic() + 60.0
    while (held.descriptors > fresh.descriptors or held.tasks > fresh.tasks) and time.monotonic() < until:
        await asyncio.sleep(1.0)
        held = await _look(guard)
    return held


async def _watch(guard: Guard, backend: RecordingBackend, until: float) -> list[Held]:
    samples: list[Held] = []
    began, minutes = time.monotonic(), 0
    while (left := until - time.monotonic()) > 0:
        await asyncio.sleep(min(SAMPLE, left))
        samples.append(await _look(guard))
        backend.conversations[:] = [c for c in backend.conversations if c.ended is None]
        backend.requests.clear()
        if time.monotonic() - began >= 60 * (minutes + 1):
            minutes += 1
            print(f"{minutes} min: {samples[-1]}", flush=True)
    return samples


async def _look(guard: Guard) -> Held:
    process = Path(f"/proc/{guard.program.pid}")
    held = dict(line.split(":", 1) for line in (process / "smaps_rollup").read_text().splitlines()[1:])
    return Held(
        int(held["Anonymous"].split()[0]) / 1024,
        len(os.listdir(process / "fd")),
        int(await guard.metric("wsguard_event_loop_tasks")),
        int(await guard.metric("wsguard_connections")),
        int(await guard.metric("wsguard_handshakes_total", result="admitted")),
        int(await guard.metric("wsguard_connections_closed_total")),
    )


async def _operate(guard: Guard, rng: random.Random, until: float) -> None:
    """Now and then: a log-out, an end by hand, the policies anew, a broken policy and a mended one."""
    while time.monotonic() < until:
        await asyncio.sleep(rng.uniform(0.5, 3.0))
        match rng.randrange(4):
            case 0:
                await guard.ask("POST", "/v1/logout", {"subject": f"user{rng.randrange(20)}"})
            case 1:
                with suppress(IndexError):  # nobody is there
                    await guard.ask("DELETE", f"/v1/connections/{rng.choice(await guard.connections())['id']}")
            case 2:
                guard.write("p.yaml", POLICY + f"# {rng.random()}\n")
            case 3:
                guard.write("p.yaml", "kind: nonsense\n")
                await asyncio.sleep(0.5)
                guard.write("p.yaml", POLICY)


if __name__ == "__main__":
    sys.exit(main())
