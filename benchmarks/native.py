"""The two C programs under native/: compiled for this run, and spoken to over their pipes."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import Process, split_cores

SOURCES = Path(__file__).parent / "native"


class BenchmarkError(Exception):
    """A program of the run failed; the message holds what it said."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The compiled programs, in `folder`."""

    folder: Path

    @property
    def echo(self) -> Path:
        """The backend."""
        return self.folder / "echo"

    @property
    def load(self) -> Path:
        """The load generator."""
        return self.folder / "load"


def missing_compiler() -> str | None:
    """Why the tools cannot be compiled here; None where they can."""
    return None if shutil.which("gcc") else "gcc is not installed"


def compile_tools(folder: Path) -> Tools:
    """Compile both programs into `folder`. Raises BenchmarkError with what the compiler said."""
    if problem := missing_compiler():
        raise BenchmarkError(problem)
    for name in ("echo", "load"):
        command = ["gcc", "-O2", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror"]
        command += ["-o", str(folder / name), str(SOURCES / f"{name}.c")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchmarkError(done.stderr)
    return Tools(folder)


@contextlib.contextmanager
def echo_backend(tools: Tools) -> Iterator[int]:
    """A running backend; yields its port."""
    process = Process([str(tools.echo)], cores=split_cores()[1], folder=tools.folder, pipes=True)
    try:
        yield int(process.stdout.readline())
    finally:
        process.end()


@dataclass(frozen=True, slots=True)
class Phase:
    """What one phase of load did: whole round trips, seconds, and, where it was paced, latency in seconds."""

    messages: int
    seconds: float
    p50: float = math.nan
    p99: float = math.nan


class Load:
    """The load generator, connected to one port. Every method raises BenchmarkError where it failed."""

    def __init__(self, tools: Tools, port: int, headers: Sequence[str]) -> None:
        command = [str(tools.load), str(port), *headers]
        self._process = Process(command, cores=split_cores()[1], folder=tools.folder, pipes=True)

    def open(self, connections: int) -> None:
        """Open or close connections until `connections` are open."""
        self._do(f"open {connections}")

    def relay(self, size: int, window: int, seconds: float) -> Phase:
        """Keep `window` messages of `size` bytes outstanding on every open connection."""
        return self._run(f"relay {size} {window} {seconds}")

    def rotate(self, size: int, window: int, among: int, seconds: float) -> Phase:
        """Keep `window` messages outstanding in all, each next one on the next of `among` connections."""
        return self._run(f"rotate {size} {window} {among} {seconds}")

    def pace(self, size: int, rate: float, seconds: float) -> Phase:
        """Send `rate` messages a second at fixed times, spread over the open connections."""
        return self._run(f"pace {size} {rate} {seconds}")

    def churn(self, window: int, seconds: float) -> Phase:
        """Run `window` loops of handshake, one echo of 64 bytes, and Close; closes what was open before."""
        return self._run(f"churn {window} {seconds}")

    def end(self) -> None:
        """End the program, and with it every connection."""
        self._process.end()

    def _run(self, command: str) -> Phase:
        return Phase(**self._do(command))

    def _do(self, command: str) -> dict[str, Any]:
        try:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise BenchmarkError(f"{command}: {self._process.log().strip().splitlines()[-1:]}")
        said: dict[str, Any] = json.loads(answer)
        return said
