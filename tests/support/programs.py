"""Programs that tests start: each is ended by its own process id, and what it prints is kept by the line."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import pytest

from tests.support.nursery import Newborn
from tests.support.provision import PATH
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
NPM = ROOT / "tests" / "npm"
NPM_EXTENDED = ROOT / "tests" / "npm-extended"
LONGEST = 2**20
"""Bytes that a line of a program's output may have."""


class Program:
    """A child process. `lines` is what it has printed on stdout, `errors` what on stderr.

    Its environment is this process's, with `env` on top; `fds` are inherited open.
    """

    def __init__(
        self,
        *command: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        fds: tuple[int, ...] = (),
    ) -> None:
        self.command = [str(word) for word in command]
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._env = {**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})}
        self._cwd = cwd
        self._fds = fds
        self._process: asyncio.subprocess.Process | Newborn | None = None
        self._readers: list[asyncio.Task[None]] = []

    @property
    def process(self) -> asyncio.subprocess.Process | Newborn:
        """The running process."""
        assert self._process is not None, "not started"
        return self._process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    async def start(self) -> None:
        """Start it."""
        self._process = await self._spawn()
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [
            asyncio.create_task(_collect(self._process.stdout, self.lines)),
            asyncio.create_task(_collect(self._process.stderr, self.errors)),
        ]

    async def _spawn(self) -> asyncio.subprocess.Process | Newborn:
        return await asyncio.create_subprocess_exec(
            *self.command,
            env=self._env,
            cwd=self._cwd,
            pass_fds=self._fds,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LONGEST,
        )

    async def line(self, pattern: str, deadline: float = 20.0) -> re.Match[str]:
        """Wait for a line, on stdout or stderr, that holds `pattern`."""
        return await eventually(lambda: self._find(pattern), deadline, f"{self.command}: a line like {pattern!r}")

    async def event(self, name: str, deadline: float = 20.0, *, count: int = 1) -> dict[str, Any]:
        """Wait for the `count`th JSON line on stdout whose `event` is `name`."""

        def found() -> dict[str, Any] | None:
            events = self.events(name)
            return events[count - 1] if len(events) >= count else None

        event = await eventually(found, deadline, f"{self.command}: {count} times {name!r} in {self.lines}")
        assert event is not None
        return event

    def events(self, name: str) -> list[dict[str, Any]]:
        """The JSON lines so far whose `event` is `name`."""
        lines = [json.loads(line) for line in self.lines if line.startswith("{")]
        return [line for line in lines if line.get("event") == name]

    async def wait(self, deadline: float = 20.0) -> int:
        """Wait for its end; the exit status."""
        status = await asyncio.wait_for(self.process.wait(), deadline)
        await asyncio.gather(*self._readers)
        return status

    async def end(self, deadline: float = 5.0) -> int:
        """SIGTERM, then SIGKILL where that is not enough."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)
        try:
            return await self.wait(deadline)
        except TimeoutError:
            self.process.kill()
            return await self.wait()

    async def __aenter__(self) -> Program:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.end()

    def _find(self, pattern: str) -> re.Match[str] | None:
        for line in [*self.lines, *self.errors]:
            if match := re.search(pattern, line):
                return match
        if self._process is not None and self._process.returncode is not None:
            raise AssertionError(f"{self.command} ended: {self.lines[-20:]} {self.errors[-20:]}")
        return None


def node(script: str, **options: object) -> Program:
    """A script of tests/npm, given its options; it prints one JSON object a line, each with an `event`."""
    return Program(need("node"), NPM / script, json.dumps(options, ensure_ascii=False), cwd=NPM)


def need(command: str) -> str:
    """The path of `command`; the test is skipped where it is missing, and fails with CI=true."""
    path = shutil.which(command, path=PATH)
    missing = "" if path else f"{command} is not installed"
    if command == "node" and not (NPM / "node_modules").is_dir():
        missing = missing or "the npm packages are not installed: run `make test`"
    if missing:
        _leave_out(missing)
    assert path is not None
    return path


def installed(path: Path) -> Path:
    """`path` of something that `make test-extended` installs; where it is missing, as for `need`."""
    if not path.exists():
        _leave_out(f"{path.relative_to(ROOT)} is not installed: run `make test-extended`")
    return path


def _leave_out(why: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI=true: {why}")
    pytest.skip(why)


async def _collect(stream: asyncio.StreamReader, lines: list[str]) -> None:
    async for line in stream:  # seen by the tests while it grows
        lines.append(line.decode(errors="replace").rstrip("\n"))  # noqa: PERF401
