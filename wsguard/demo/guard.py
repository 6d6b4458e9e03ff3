"""The guard as a process of its own, started, asked and ended as an operator would."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from itertools import cycle
from pathlib import Path
from random import sample
from typing import Self

import aiohttp

START_DEADLINE = 15.0
_POLL = 0.05
_PORTS = cycle(sample(range(20_000, 30_000), 10_000))  # below those that systems give to outgoing connections


class GuardError(Exception):
    """The guard did not start, or a command of it failed; the sentence says which and what it printed."""


@dataclass(slots=True)
class Guard:
    """A running `wsguard run`; policies, key, control socket and log are in `folder`."""

    process: asyncio.subprocess.Process
    port: int
    admin: int
    folder: Path

    @classmethod
    async def start(cls, folder: Path, *, backend: int, port: int, admin: int) -> Self:
        """Start a guard in front of 127.0.0.1:`backend` and wait until it is ready.

        `folder` is as `furnish` left it; 0 as a port is any free one. Raises `GuardError`.
        """
        free = free_ports(2)  # a number is needed: what a process that listens on port 0 got, only it knows
        port, admin = port or free[0], admin or free[1]
        log = folder / "guard.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "wsguard", "run",
                "--policy", str(folder / "policies"),
                "--backend", f"http://127.0.0.1:{backend}",
                "--listen", f"127.0.0.1:{port}",
                "--admin", f"127.0.0.1:{admin}",
                "--control", str(control_socket(folder)),
                stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,  # a Ctrl-C in the terminal is ours to pass on, in our order
            )  # fmt: skip
        guard = cls(process, port, admin, folder)
        try:
            await guard._ready()
        except BaseException:
            await guard.end()
            raise
        return guard

    @property
    def readyz(self) -> str:
        """The address of its readiness probe."""
        return f"http://127.0.0.1:{self.admin}/readyz"

    async def drain(self, deadline: float) -> int:
        """Send SIGTERM and wait; returns the exit status. Raises `GuardError` after `deadline` seconds."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(deadline):
                return await self.process.wait()
        except TimeoutError:
            raise GuardError(f"the guard was still there {deadline:.0f} s after SIGTERM") from None

    async def end(self) -> None:
        """Make sure that the process is gone."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()

    async def command(self, *words: str) -> str:
        """Run a `wsguard` command that talks to this guard; returns what it printed. Raises `GuardError`."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "wsguard", *words, "--control", str(control_socket(self.folder)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
        text = output.decode("utf-8", "replace").strip()
        if process.returncode:
            raise GuardError(f"`wsguard {' '.join(words)}` ended with exit status {process.returncode}: {text}")
        return text

    async def _ready(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_DEADLINE
        async with aiohttp.ClientSession() as session:
            while loop.time() < deadline:
                if self.process.returncode is not None:
                    raise GuardError(
                        f"the guard ended with exit status {self.process.returncode}:\n{self.last_words()}"
                    )
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(self.readyz) as answer:
                        if answer.ok:
                            return
                await asyncio.sleep(_POLL)
        raise GuardError(f"the guard was not ready after {START_DEADLINE:.0f} s:\n{self.last_words()}")

    def last_words(self, lines: int = 12) -> str:
        """The end of the guard's log."""
        return "\n".join((self.folder / "guard.log").read_text("utf-8", "replace").splitlines()[-lines:])


def furnish(folder: Path, signing_key: bytes) -> None:
    """Lay out what the guard reads: the demonstration's policies and, beside them, the application's key."""
    policies = folder / "policies"
    policies.mkdir()
    for source in (files("wsguard.demo") / "policies").iterdir():
        (policies / source.name).write_bytes(source.read_bytes())
    descriptor = os.open(policies / "token.key", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as key:
        key.write(signing_key)


def control_socket(folder: Path) -> Path:
    """Where the guard that lives in `folder` is asked."""
    return folder / "control" / "control.sock"


def port_problem(ports: Iterable[int]) -> str | None:
    """Why one of `ports` of 127.0.0.1 cannot be listened on; None: all can."""
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as a server does
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                return f"cannot listen on 127.0.0.1:{port}: {error.strerror}"
    return None


def free_ports(count: int) -> list[int]:
    """`count` different ports of 127.0.0.1 that nobody listens on now."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", next(_PORTS)))
            found.append(probe.getsockname()[1])
    return found
