"""What the guard asks of the process it runs in: clocks, descriptors, the collector, and the words of an error."""

from __future__ import annotations

import errno
import gc
import os
import resource
import time

_RESERVED = 100  # descriptors, half of them for the admin port (`ops.serving.MOST`)


class SystemClock:
    """The process's own clocks; the functions themselves, because a message asks one."""

    wall = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


def why(error: OSError) -> str:
    """The system's own words: asyncio and uvloop add the address, in Python's spelling."""
    if error.errno is not None and error.errno in errno.errorcode:  # a gaierror has numbers of its own
        return os.strerror(error.errno)
    return error.strerror or str(error)


def calm_the_collector() -> None:
    """What start-up made lives as long as the process, and a connection leaves nothing in cycles: walk seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def room_for_connections() -> int:
    """Connections for which there are descriptors: two each, and some for probes, logs, keys and streams."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max((limit - _RESERVED) // 2, 1)


def raise_descriptor_limit() -> None:
    """Two descriptors a connection: take all that the system grants."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
