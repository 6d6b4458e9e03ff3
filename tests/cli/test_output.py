"""What becomes of a command whose output nobody takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TRAIL = ["report", os.devnull]
COMMANDS = [["schema"], ["check", "policies"], ["test", "policies"], TRAIL, [*TRAIL, "--json"]]


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_disk_that_is_full_is_named(command: list[str], unbuffered: str) -> None:
    with Path("/dev/full").open("wb") as full:
        status, errors = run(command, full.fileno(), unbuffered)
    assert (status, errors) == (
        2,
        f"wsguard {command[0]}: standard output cannot be written: No space left on device\n",
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_who_reads_no_further_is_no_error(unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert run(TRAIL, writing, unbuffered) == (0, "")
    finally:
        os.close(writing)


def test_without_any_output_it_goes_as_ever() -> None:
    script = 'exec 1>&-; exec "$@"'
    command = ["sh", "-c", script, "sh", sys.executable, "-m", "wsguard", *TRAIL]
    assert subprocess.run(command, stderr=subprocess.PIPE, check=False).stderr == b""


def run(command: list[str], output: int, unbuffered: str) -> tuple[int, str]:
    """Exit status, and what is on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "wsguard", *command],
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.PIPE,
        check=False,
    )
    return done.returncode, done.stderr.decode()
