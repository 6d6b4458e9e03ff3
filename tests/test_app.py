"""The guard as a process: how it starts, and what a reload changes in how it ends."""

from __future__ import annotations

import sys

import pytest

from tests.support.guard import Guard, policy
from tests.support.programs import Program

BACKEND = "http://127.0.0.1:9"

CONFIG = """
apiVersion: wsguard.dev/v1
kind: GuardConfig
spec:
  shutdown: {{drainWindow: {window}}}
"""


@pytest.mark.parametrize("port", ["listen", "admin"])
async def test_a_port_that_is_taken_is_a_sentence(port: str) -> None:
    async with Guard(BACKEND) as guard:
        ports = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", port: f"127.0.0.1:{guard.port}"}
        flags = [word for name, address in ports.items() for word in (f"--{name}", address)]
        another = Program(sys.executable, "-m", "wsguard", "run", "--backend", BACKEND, "--control", "none", *flags)
        await another.start()
        assert await another.wait() == 2
        which = " (admin)" if port == "admin" else ""
        assert another.errors == [
            f"wsguard run: cannot listen on 127.0.0.1:{guard.port}{which}: Address already in use"
        ]


async def test_the_drain_at_the_end_has_the_window_that_is_loaded() -> None:
    """The one of the start would be that of a file long replaced."""
    async with Guard(BACKEND, {"guard.yaml": CONFIG.format(window="7s"), "policy.yaml": policy()}) as guard:
        guard.write("guard.yaml", CONFIG.format(window="3s"))
        await guard.program.event("policies_loaded", count=2)
        assert await guard.terminate() == 0
        assert (await guard.log({"event": "drain_started"}))["window"] == 3.0
