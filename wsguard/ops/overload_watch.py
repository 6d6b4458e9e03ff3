"""Measures what overload is judged by, with each sample of the event loop's lag, and says when it begins and ends."""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import threading
from collections.abc import Callable

from wsguard.ops.log import Log
from wsguard.policy.model import Overload as Spec
from wsguard.sessions.overload import Cause, Limits, Overload, Sample

_RETURN_EVERY = 40  # samples between two attempts to give memory back
_STATM = "/proc/self/statm"  # proc(5); where there is none, memory is not looked at
_PAGE = resource.getpagesize()


class OverloadWatch:
    """`spec` gives what is configured now, `connections` how many there are, `room` is for how many there may be."""

    def __init__(
        self, overload: Overload, log: Log, spec: Callable[[], Spec], connections: Callable[[], int], room: int
    ) -> None:
        self._overload = overload
        self._log = log
        self._spec = spec
        self._connections = connections
        self._room = room
        # Held open: when it is needed most there may be no descriptor left for it.
        self._memory = os.open(_STATM if os.path.exists(_STATM) else os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._until_return = 0
        self._read_limits()

    def close(self) -> None:
        """Measure no more."""
        os.close(self._memory)

    def sample(self, lag: float) -> None:
        """The event loop was `lag` seconds late: measure the rest too."""
        self._read_limits()
        sample = Sample(self._connections(), self._resident(), lag, self._has_descriptors())
        for change in self._overload.measure(sample):
            event = "overload_ended" if change.is_over else "overloaded"
            refused = change.refused if change.is_over else None
            self._log.event(event, logging.WARNING, cause=change.cause.value, refused=refused)
        self._give_back()

    def _read_limits(self) -> None:
        spec = self._spec()
        connections = min(spec.max_connections or self._room, self._room)
        self._overload.limits = Limits(connections, spec.max_memory, spec.max_loop_lag)

    def _resident(self) -> int:
        words = os.pread(self._memory, 100, 0).split()
        return int(words[1]) * _PAGE if words else 0

    def _has_descriptors(self) -> bool:
        try:
            os.close(os.dup(self._memory))
        except OSError:
            return False
        return True

    def _give_back(self) -> None:
        """What the C library keeps of freed memory for later is resident too: without this it may never be less."""
        if Cause.MEMORY not in self._overload.causes:
            self._until_return = 0
        elif self._until_return:
            self._until_return -= 1
        else:
            self._until_return = _RETURN_EVERY
            threading.Thread(target=_trim, daemon=True).start()  # it may take some milliseconds


def _trim() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
    if trim is not None:
        trim(0)
