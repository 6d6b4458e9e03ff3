"""Browsers and pulled cables keep out of one another's way, over all workers of this machine.

Chromium ends what is under way when a network interface comes or goes (ERR_NETWORK_CHANGED), and so does any test that
watches it do so. Browsers may be many at a time; whoever changes interfaces is alone, and waits for no newcomer.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_GATE, _ROOM = (Path(tempfile.gettempdir()) / f"wsguard-tests-{os.getuid()}-{name}.lock" for name in ("gate", "room"))


@asynccontextmanager
async def steady() -> AsyncIterator[None]:
    """No interface changes meanwhile."""
    async with _locked(fcntl.LOCK_SH):
        yield


@asynccontextmanager
async def changing() -> AsyncIterator[None]:
    """No browser is there meanwhile."""
    async with _locked(fcntl.LOCK_EX):
        yield


@asynccontextmanager
async def _locked(kind: int) -> AsyncIterator[None]:
    with _ROOM.open("w") as room:
        with _GATE.open("w") as gate:  # who waits in it is next: else browsers could follow one another for ever
            await _take(gate.fileno(), fcntl.LOCK_EX)
            await _take(room.fileno(), kind)
        yield


async def _take(descriptor: int, kind: int) -> None:
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            await asyncio.sleep(0.02)
        else:
            return
