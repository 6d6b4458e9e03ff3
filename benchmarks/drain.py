"""What a drain looks like from outside: when idle connections are closed, when they are asked back, what it costs.

python -m benchmarks drain --connections 9000 --window 10 --window 60
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.drain_report import Drain, Drains
from benchmarks.pages import open_pages
from benchmarks.processes import cpu_seconds, split_cores
from benchmarks.report import machine
from benchmarks.sessions import running_backend
from tests.support.guard import Guard, policy

_LOOK = 0.05  # seconds between two looks at the guard's CPU time, which ends with it
_CONFIG = """
apiVersion: wsguard.dev/v1
kind: GuardConfig
spec: {{shutdown: {{drainWindow: {window:g}s}}, logging: {{level: warning}}}}
"""


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line of `python -m benchmarks drain`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks drain", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--connections", type=int, default=9000, help="idle when the guard gets its SIGTERM")
    parser.add_argument("--window", type=float, action="append", metavar="SECONDS", help="each once: 10 and 60")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write everything into this folder")
    return parser.parse_args(arguments)


async def measure(connections: int, windows: Sequence[float]) -> Drains:
    """A drain for each window. Raises BenchmarkError and PageError."""
    facts, drains = machine(), []
    os.sched_setaffinity(0, split_cores()[1])
    with tempfile.TemporaryDirectory(prefix="wsguard-bench-") as folder, running_backend(Path(folder)) as backend:
        for window in windows:
            print(f"{connections} connections leave over {window:g} s", file=sys.stderr)
            drains.append(await drain(backend, connections, window))
    return Drains(drains, facts)


async def drain(backend: str, connections: int, window: float) -> Drain:
    """One guard, from SIGTERM to its end."""
    async with Guard(backend, {"policy.yaml": policy(), "guard.yaml": _CONFIG.format(window=window)}) as guard:
        os.sched_setaffinity(guard.program.pid, split_cores()[0])
        pages = await open_pages(guard.port, ["c"] * connections)
        before, began = cpu_seconds(guard.program.pid), time.monotonic()
        watching = asyncio.create_task(_last_cpu_seconds(guard.program.pid))
        status = await guard.terminate(window + 60.0)
        took = time.monotonic() - began
        assert status == 0, status
        await asyncio.gather(*(page.ended for page in pages))
        after = await watching
    told = [page for page in pages if page.closed_at is not None]
    closes = [page.closed_at - began for page in told if page.closed_at is not None]
    returns = [moment + page.retry_after for moment, page in zip(closes, told, strict=True)]
    return Drain.of(window, connections, closes, returns, took, after - before)


async def _last_cpu_seconds(pid: int) -> float:
    seconds = 0.0
    try:
        while True:
            seconds = max(seconds, cpu_seconds(pid))
            await asyncio.sleep(_LOOK)
    except ProcessLookupError:
        return seconds
