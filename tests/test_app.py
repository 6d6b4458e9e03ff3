"""The guard as a process: how it starts, and what a reload changes in how it ends."""

from __future__ import annotations

import asyncio
import signal
import sys

import aiohttp
import pytest

from tests.support.backend import Conversation, RecordingBackend, reply
from tests.support.guard import Guard, policy
from tests.support.programs import Program
from tests.support.waiting import eventually, stays
from tests.support.wire import Head

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


async def test_a_request_under_way_is_finished_before_the_end(backend: RecordingBackend) -> None:
    """SIGTERM cuts no answer short while the drain window lasts; a second one does."""
    released = asyncio.Event()

    async def late(conversation: Conversation, head: Head) -> None:
        await released.wait()
        await reply(200, b"late")(conversation, head)

    backend.respond = late
    config = {"guard.yaml": CONFIG.format(window="30s"), "policy.yaml": policy()}
    async with Guard(backend, config) as guard, aiohttp.ClientSession() as session:
        answer = asyncio.create_task(session.get(f"{guard.url}/slow"))
        await eventually(lambda: backend.conversations and backend.conversations[0].requests)
        ending = asyncio.create_task(guard.terminate())
        await guard.log({"event": "drain_finished"})
        await stays(lambda: not answer.done() and not ending.done(), 2.5)  # longer than any bound of its own
        released.set()
        async with await answer as response:
            assert (response.status, await response.read()) == (200, b"late")
        assert await ending == 0


async def test_a_second_signal_does_not_wait_for_requests(backend: RecordingBackend) -> None:
    async def never(conversation: Conversation, head: Head) -> None:
        await asyncio.Event().wait()

    backend.respond = never
    config = {"guard.yaml": CONFIG.format(window="60s"), "policy.yaml": policy()}
    async with Guard(backend, config) as guard, aiohttp.ClientSession() as session:
        answer = asyncio.create_task(session.get(f"{guard.url}/slow"))
        await eventually(lambda: backend.conversations and backend.conversations[0].requests)
        guard.program.process.send_signal(signal.SIGTERM)
        await guard.log({"event": "drain_finished"})
        assert await guard.terminate() == 0
        with pytest.raises(aiohttp.ClientError):
            await answer
