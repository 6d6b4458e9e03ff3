"""The file that holds the audit trail where it does not go to stdout: appended to, and opened anew for logrotate."""

from __future__ import annotations

import os

from wsguard.ops.log_writer import LineWriter

_MODE = 0o640  # who connected, and from where: for the guard's group at most


class AuditFile:
    """Appends lines to the file at `path`, which is made where it is not there. Raises OSError."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._dropped_before = 0
        self._open()

    @property
    def dropped(self) -> int:
        """How many lines were lost because the disk stalled or was full."""
        return self._dropped_before + self._writer.dropped

    def write(self, line: str) -> None:
        """Queue a line; it never waits for the disk."""
        self._writer.write(line)

    def reopen(self) -> None:
        """Go on in the file that has the name now. Raises OSError, and then goes on in the old one."""
        writer, fd = self._writer, self._fd
        self._open()
        _finish(writer, fd)
        self._dropped_before += writer.dropped

    def close(self) -> None:
        """Write out what is queued, for at most a second."""
        _finish(self._writer, self._fd)

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        fd = os.open(self.path, flags | os.O_NONBLOCK, _MODE)  # else opening a pipe waits for its reader
        os.set_blocking(fd, True)
        self._fd = fd
        self._writer = LineWriter(fd, is_torn=_ends_within_a_line(self.path, fd))


def _ends_within_a_line(path: str, fd: int) -> bool:
    """Whether a guard before this one ran out of disk in a line. False where nobody may read that."""
    size = os.fstat(fd).st_size
    try:
        reading = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK) if size else None
    except OSError:
        return False
    if reading is None:
        return False
    try:
        return os.pread(reading, 1, size - 1) not in (b"", b"\n")
    finally:
        os.close(reading)


def _finish(writer: LineWriter, fd: int) -> None:
    """A disk that stalls for longer than a second keeps its descriptor: to close it would stall too."""
    if writer.close():
        os.close(fd)
