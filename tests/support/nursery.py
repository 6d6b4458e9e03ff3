"""Guards that start quickly: one process imports what `wsguard run` imports, and forks for each guard of the tests.

What is born is a process like any other: its own pid, output and exit status, signals as ever, nothing open but what it
opens. Importing is most of what a start costs, and the tests start guards by the hundred.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.provision import ROOT


class Newborn:
    """What has been born, with as much of an `asyncio.subprocess.Process` as tests use."""

    def __init__(
        self,
        pid: int,
        stdout: asyncio.StreamReader,
        stderr: asyncio.StreamReader,
        line: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self.pid = pid
        self.stdout, self.stderr = stdout, stderr
        self.returncode: int | None = None
        self._ending = asyncio.create_task(self._await_end(*line))

    def send_signal(self, number: int) -> None:
        """Raises ProcessLookupError where it has ended."""
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Its exit status; negative where a signal was its end."""
        return await asyncio.shield(self._ending)

    async def _await_end(self, midwife: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        self.returncode = int(await midwife.readline())
        writer.close()
        return self.returncode


async def bear(arguments: Sequence[str], env: Mapping[str, str], cwd: Path, limit: int) -> Newborn:
    """Start `wsguard` with these arguments; a line of its output may have `limit` bytes."""
    mine, theirs = socket.socketpair()
    (output, prints), (errors, complains) = os.pipe(), os.pipe()
    socket.send_fds(_nursery(), [b"."], [theirs.fileno(), prints, complains])
    mine.sendall(json.dumps([[*arguments], {**env}, str(cwd)]).encode() + b"\n")
    theirs.close()
    os.close(prints)
    os.close(complains)
    line = await asyncio.open_connection(sock=mine)
    pid = await line[0].readline()
    assert pid, "the nursery has ended"
    return Newborn(int(pid), await _reader(output, limit), await _reader(errors, limit), line)


async def _reader(descriptor: int, limit: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=limit)
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader


@functools.cache
def _nursery() -> socket.socket:
    """The line to this process's nursery, which ends when the line does."""
    mine, theirs = socket.socketpair()
    command = (sys.executable, "-m", "tests.support.nursery", str(theirs.fileno()))
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
    theirs.close()
    atexit.register(process.wait)
    atexit.register(mine.close)
    return mine


def _attend(line: socket.socket) -> None:
    """Wait for orders, and return in who is born; the nursery itself ends with the line."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for midwives
    interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the tests end, and with them the line
    while True:
        order, descriptors, _, _ = socket.recv_fds(line, 1, 3)
        if not order:
            sys.exit()
        if os.fork() == 0:
            line.detach()
            _deliver(*descriptors)
            signal.signal(signal.SIGINT, interrupted)
            return
        for descriptor in descriptors:
            os.close(descriptor)


def _deliver(line: int, output: int, errors: int) -> None:
    """The midwife: says the pid and later the exit status. Returns in the child."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    told = socket.socket(fileno=line)
    arguments, env, cwd = json.loads(told.makefile("rb").readline())
    if pid := os.fork():
        os.close(output)
        os.close(errors)
        told.sendall(f"{pid}\n".encode())
        told.sendall(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n".encode())
        os._exit(0)
    told.detach()
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.closerange(3, max(map(int, os.listdir("/dev/fd"))) + 1)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv = ["wsguard", *arguments]


if __name__ == "__main__":
    from wsguard.cli import COMMANDS, main

    for module in ("uvloop", "wsguard.app", *(f"wsguard.cli.{name}" for name in COMMANDS)):
        importlib.import_module(module)
    _attend(socket.socket(fileno=int(sys.argv[1])))
    sys.exit(main())
