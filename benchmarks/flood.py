"""What honest clients notice of a flood of stalled handshakes.

python -m benchmarks flood --stalled 10000 --seconds 30
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.flood_report import Calm, Flood
from benchmarks.processes import cpu_seconds, split_cores
from benchmarks.report import machine
from benchmarks.sessions import running_backend
from tests.support import wire
from tests.support.client import connect
from tests.support.guard import Guard, policy
from tests.support.programs import Program
from tests.support.waiting import eventually

_HONEST = 4  # at a time
_PAUSE = 0.02  # seconds between two clients of a row: a rate far below what the guard can do
_ENDED = ("wsguard_requests_turned_away_total", "wsguard_overload_refusals_total")  # for time, and to make room
_QUIET = "apiVersion: wsguard.dev/v1\nkind: GuardConfig\nspec: {logging: {level: info}}\n"


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line of `python -m benchmarks flood`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks flood", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stalled", type=int, default=10_000, help="handshakes that never end")
    parser.add_argument("--seconds", type=float, default=30.0, help="without the flood, and as long with it")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write everything into this folder")
    return parser.parse_args(arguments)


async def measure(stalled: int, seconds: float) -> Flood:
    """Without the flood and with it. Raises BenchmarkError."""
    facts = machine()
    os.sched_setaffinity(0, split_cores()[1])
    with tempfile.TemporaryDirectory(prefix="wsguard-bench-") as folder, running_backend(Path(folder)) as backend:
        return await flood(backend, stalled, seconds, facts)


async def flood(backend: str, stalled: int, seconds: float, facts: dict[str, str]) -> Flood:
    """One guard, first in peace."""
    async with Guard(backend, {"policy.yaml": policy(), "guard.yaml": _QUIET}) as guard:
        os.sched_setaffinity(guard.program.pid, split_cores()[0])
        await _calm(guard, 1.0, None)  # it has loaded what it needs
        print(f"{seconds:g} s without a flood", file=sys.stderr)
        before = await _calm(guard, seconds, None)
        print(f"{seconds:g} s with {stalled} stalled handshakes", file=sys.stderr)
        async with _flooding(guard.port, stalled) as flooder:
            during = await _calm(guard, seconds, flooder)
    return Flood(stalled, before, during, facts)


@asynccontextmanager
async def _flooding(port: int, count: int) -> AsyncIterator[Program]:
    program = Program(sys.executable, "-m", "benchmarks.flooder", str(port), str(count))
    await program.start()
    try:
        await eventually(lambda: "flooding" in program.lines, 120.0, "every handshake is stalled")
        yield program
    finally:
        await program.end()


async def _calm(guard: Guard, seconds: float, flooder: Program | None) -> Calm:
    pids = (guard.program.pid, os.getpid(), flooder.pid if flooder else None)
    before = [await _ended(guard), *map(_used, pids)]
    end = time.monotonic() + seconds
    rows = await asyncio.gather(*(_come(guard.port, end) for _ in range(_HONEST)))
    after = [await _ended(guard), *map(_used, pids)]
    ended, *shares = ((now - was) / seconds for was, now in zip(before, after, strict=True))
    latencies = [latency for row in rows for latency in row]
    heard = [latency for latency in latencies if latency is not None]
    return Calm(heard, len(latencies) - len(heard), ended, *shares)


def _used(pid: int | None) -> float:
    return 0.0 if pid is None else cpu_seconds(pid)


async def _ended(guard: Guard) -> float:
    return sum([await guard.metric(name) for name in _ENDED])


async def _come(port: int, end: float) -> list[float | None]:
    """Seconds that each client took, one after another; None: it was not served."""
    latencies: list[float | None] = []
    while time.monotonic() < end:
        latencies.append(await _speak(port))
        await asyncio.sleep(_PAUSE)
    return latencies


async def _speak(port: int) -> float | None:
    began = time.monotonic()
    try:
        async with connect(port) as client:
            await client.open(wire.upgrade())
            await client.send(wire.frame(wire.TEXT, b"hello"))
            await client.frame()
            took = time.monotonic() - began
            await client.send(wire.close_frame(1000))
            await client.close_frame()
            return took
    except (OSError, EOFError):
        return None
