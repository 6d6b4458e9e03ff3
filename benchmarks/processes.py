"""The processes of a run: started on their own core, asked for CPU time and memory, ended by their own id."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

GRACE = 5.0  # seconds between SIGTERM and SIGKILL

_libc = ctypes.CDLL(None)


def split_cores() -> tuple[set[int], set[int]]:
    """The core of the proxy, and those of load and backend; the same ones where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    return ({cores[-1]}, set(cores[:-1])) if len(cores) > 1 else (set(cores), set(cores))


class Process:
    """A child process and the processes it started itself."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        cores: set[int],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        pipes: bool = False,
    ) -> None:
        """Start `command` on `cores`, in `folder`.

        What it prints goes to `output.txt` there; with `pipes` only what it prints on standard error.
        """
        self._log_path = folder / "output.txt"
        with self._log_path.open("ab") as log, _on(cores):
            self._popen = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else log,
                stderr=log,
                text=True,
            )

    @property
    def stdin(self) -> IO[str]:
        """Its standard input, where `pipes` was set."""
        assert self._popen.stdin
        return self._popen.stdin

    @property
    def stdout(self) -> IO[str]:
        """Its standard output, where `pipes` was set."""
        assert self._popen.stdout
        return self._popen.stdout

    @property
    def ended(self) -> bool:
        """True once the process has exited."""
        return self._popen.poll() is not None

    def log(self) -> str:
        """The end of what it printed, for an error message."""
        return self._log_path.read_text(errors="replace")[-2000:]

    def cpu_seconds(self) -> float:
        """User and system time of all its threads, living and gone; see clock_getcpuclockid(3)."""
        return sum(cpu_seconds(pid) for pid in self._family())

    def memory(self) -> int:
        """Bytes of memory that are its own: the proportional set size (PSS), proc_pid_smaps(5)."""
        return sum(_pss(pid) for pid in self._family())

    def _family(self) -> list[int]:
        found, waiting = [], [self._popen.pid]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            with contextlib.suppress(FileNotFoundError):
                for children in Path(f"/proc/{pid}/task").glob("*/children"):
                    waiting += map(int, children.read_text().split())
        return found

    def end(self) -> None:
        """Ask it to stop, and kill it where it does not within the grace."""
        if self._popen.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._popen.stdin.close()
        if not self.ended:
            self._popen.send_signal(signal.SIGTERM)
        try:
            self._popen.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        if self._popen.stdout:
            self._popen.stdout.close()


@contextlib.contextmanager
def _on(cores: set[int]) -> Iterator[None]:
    """What is started meanwhile inherits these cores."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)


def cpu_seconds(pid: int) -> float:
    """User and system time of one process. Raises ProcessLookupError."""
    clock = ctypes.c_int()
    if _libc.clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise ProcessLookupError(pid)
    return time.clock_gettime(clock.value)


def _pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)
