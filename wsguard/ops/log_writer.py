"""Lines to a descriptor, without ever waiting for whoever reads it.

Law: a reader of stdout that stalls never stops the event loop. A thread writes; what does not fit into its
bounded queue is dropped and counted.
"""

from __future__ import annotations

import os
import select
import threading


class LineWriter:
    """Writes lines to `fd` from a thread of its own; at most `limit` bytes wait. `dropped`: lines lost.

    `is_torn`: what is there ends within a line, as after a full disk. The next line then begins on one of its own.
    """

    def __init__(self, fd: int, limit: int = 4 * 1024 * 1024, *, is_torn: bool = False) -> None:
        self.dropped = 0
        self._fd = fd
        self._limit = limit
        self._is_torn = is_torn
        self._pending: list[bytes] = []
        self._size = 0  # of the pending lines and of those being written
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="wsguard-log", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Queue a line, or drop it where there is no room."""
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        with self._changed:
            if self._closed or self._size + len(data) > self._limit:
                self.dropped += 1
                return
            self._size += len(data)
            self._pending.append(data)
            if len(self._pending) == 1:
                self._changed.notify()

    def close(self, timeout: float = 1.0) -> bool:
        """Write out what is queued, for at most `timeout` seconds; later lines are dropped. False: it took longer."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._closed)
                lines, self._pending = self._pending, []
            if not lines:
                return
            batch = b"".join(lines)
            lost = self._write(batch)
            with self._changed:
                self._size -= len(batch)
                self.dropped += lost

    def _write(self, data: bytes) -> int:
        """Write the lines of `data`; returns how many did not get through whole."""
        whole = b"\n" + data if self._is_torn else data
        rest = memoryview(whole)
        try:
            while rest:
                rest = rest[self._write_some(rest) :]
        except OSError:  # the reader has gone, or the disk is full
            pass
        written = len(whole) - len(rest)
        if written:
            self._is_torn = whole[written - 1 : written] != b"\n"
        return min(whole[written:].count(b"\n"), data.count(b"\n"))

    def _write_some(self, data: memoryview) -> int:
        while True:
            try:
                return os.write(self._fd, data)
            except BlockingIOError:  # another process with this descriptor has made it non-blocking
                select.select([], [self._fd], [])
