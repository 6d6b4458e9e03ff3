"""Ports for programs that must be told theirs."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import socket

from tests.support.waiting import eventually

# Below the range that Linux gives to outgoing connections, so that none of those can take the port before the
# program binds it; each pytest-xdist worker walks through a stretch of its own.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 5
_STRETCH = range(20_000 + 2_000 * _WORKER, 22_000 + 2_000 * _WORKER)
_walk = itertools.cycle(random.sample(_STRETCH, len(_STRETCH)))


async def listening(port: int) -> None:
    """Wait until somebody listens on 127.0.0.1:`port`."""

    async def answers() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return False
        writer.close()
        return True

    await eventually(answers, what=f"somebody listens on {port}")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that is not given out again for a long while."""
    for port in itertools.islice(_walk, len(_STRETCH)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")
