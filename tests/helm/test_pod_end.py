"""A pod's end, as the kubelet brings it about, with the hooks and the grace period that the chart renders.

All preStop hooks begin at once; SIGTERM comes to the application when its hook is over, to the sidecar after that.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.helm.charts import guard as container_of
from tests.helm.charts import one, template
from tests.kubernetes.manifests import pod
from tests.support.backend import RecordingBackend
from tests.support.guard import Guard
from tests.support.programs import Program

AFTER, WINDOW = 1, 2
CONNECTIONS = 8


class Pod:
    """A guard with the hook of the rendered sidecar, and an application with the hook of the rendered application."""

    def __init__(self, spec: dict[str, Any], guard: Guard) -> None:
        self._guard = guard
        self._hook = container_of(spec)["lifecycle"]["preStop"]["exec"]["command"]
        self._wait = spec["containers"][0]["lifecycle"]["preStop"]["httpGet"]["path"]
        self.grace: int = spec["terminationGracePeriodSeconds"]

    async def end(self) -> tuple[float, float]:
        """Seconds from the beginning until the application got its SIGTERM, and until the sidecar was gone."""
        began = time.monotonic()
        hook = asyncio.create_task(self._exec())
        async with aiohttp.ClientSession() as session, session.get(self._guard.admin + self._wait) as answer:
            assert answer.status == 200
        application = time.monotonic() - began
        assert await hook == 0
        assert await self._guard.terminate() == 0
        return application, time.monotonic() - began

    async def _exec(self) -> int:
        program, *arguments = self._hook
        assert program == "wsguard"
        hook = Program(sys.executable, "-m", "wsguard", *arguments, "--control", str(self._guard.control))
        await hook.start()
        return await hook.wait()


@pytest.fixture(scope="module")
def spec(app: Path) -> dict[str, Any]:
    drain = {"after": AFTER, "window": WINDOW, "appShutdown": 0}
    return pod(one(template(app, {"wsguard": {"drain": drain}}), "Deployment"))


async def test_clients_are_sent_away_one_by_one_before_the_application_ends(
    spec: dict[str, Any], backend: RecordingBackend
) -> None:
    async with Guard(backend) as guard, aiohttp.ClientSession() as session:
        sockets = [await session.ws_connect(f"{guard.ws}/ws") for _ in range(CONNECTIONS)]
        began = time.monotonic()
        clients = [asyncio.create_task(closed(socket, began)) for socket in sockets]
        ending = asyncio.create_task(Pod(spec, guard).end())
        closes = await asyncio.gather(*clients)
        application, whole = await ending
    assert {code for code, _ in closes} == {1012}
    moments = sorted(moment for _, moment in closes)
    assert moments[0] >= AFTER, "until then load balancers may send more"
    assert moments[-1] - moments[0] > WINDOW / 4, "spread, not all at once"
    assert application >= moments[-1], "the application has outlived its connections"
    assert whole < Pod(spec, guard).grace


async def test_a_pod_without_connections_stays_until_load_balancers_know(
    spec: dict[str, Any], backend: RecordingBackend
) -> None:
    async with Guard(backend) as guard:
        ending = asyncio.create_task(Pod(spec, guard).end())
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{guard.ws}/ws") as late:
            assert not late.closed, "a connection that a load balancer still sends is taken"
            await late.close()
        application, _ = await ending
    assert application >= AFTER


async def closed(socket: aiohttp.ClientWebSocketResponse, began: float) -> tuple[int | None, float]:
    """The code that a client reads, and when."""
    await socket.receive()
    return socket.close_code, time.monotonic() - began
