"""The admin port: what probes, Prometheus, a preStop hook and a stranger's page get."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.ops.records import decided
from tests.ops.rig import Rig
from tests.sessions.fakes import identity
from tests.support.waiting import eventually, stays
from wsguard.ops.admin import MAX_WAITERS, AdminPort
from wsguard.ops.page import PATHS
from wsguard.ops.serving import serve
from wsguard.protocol.reasons import CloseReason


class Served:
    """An admin port on a real socket, as the guard serves it."""

    def __init__(self, runner: web.AppRunner, session: aiohttp.ClientSession) -> None:
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        self._session = session

    async def get(self, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> tuple[int, str]:
        async with self._session.request(method, self.url + path, headers=headers) as response:
            assert response.headers["Server"] == "wsguard"
            assert response.headers["Cache-Control"] == "no-store"
            if response.status >= 400 and response.content_type != "text/plain":
                assert response.content_type == "application/problem+json"
            return response.status, await response.text()

    async def fetch(self, path: str) -> tuple[int, str, Mapping[str, str]]:
        """With the header fields."""
        async with self._session.get(self.url + path) as response:
            return response.status, await response.text(), response.headers


@pytest.fixture
async def serving(rig: Rig) -> AsyncIterator[Any]:
    """Serves admin ports, and ends them."""
    runners: list[web.AppRunner] = []
    async with aiohttp.ClientSession() as session:

        async def start(**what: Any) -> Served:
            port = AdminPort(rig.health, rig.metrics, rig.control, **what)
            runners.append(await serve(port.app(), "127.0.0.1", 0))
            return Served(runners[-1], session)

        yield start
        for runner in runners:
            await runner.cleanup()


@pytest.fixture
async def admin(serving: Any) -> Served:
    served: Served = await serving()
    return served


async def test_the_probes_follow_start_drain_and_end(rig: Rig, admin: Served) -> None:
    async def probes() -> list[int]:
        return [(await admin.get(path))[0] for path in ("/livez", "/startupz", "/readyz")]

    assert await probes() == [200, 503, 503]
    assert (await admin.get("/readyz"))[1] == "starting\n"
    rig.health.started = True
    assert await probes() == [200, 200, 200]
    rig.connect("c1")
    rig.drainer.start(3_600.0)
    assert await probes() == [200, 200, 503]
    assert (await admin.get("/readyz"))[1] == "draining\n"
    rig.drainer.cancel()
    assert await probes() == [200, 200, 200]
    rig.registry.remove("c1")
    rig.drainer.start(0.0)
    await rig.drainer.wait()
    assert await probes() == [200, 200, 503], "a drained guard stays up and unready"
    assert (await admin.get("/readyz"))[1] == "drained\n"


async def test_a_guard_that_has_not_heard_who_is_logged_out_is_not_ready(rig: Rig, admin: Served) -> None:
    rig.health.started = True
    rig.health.has_heard = lambda: False
    assert await admin.get("/readyz") == (503, "session events are not read yet\n")
    assert (await admin.get("/startupz"))[0] == 200
    rig.health.has_heard = lambda: True
    assert (await admin.get("/readyz"))[0] == 200


async def test_metrics_are_for_prometheus(admin: Served) -> None:
    status, text = await admin.get("/metrics")
    assert status == 200
    assert "wsguard_build_info" in text
    assert "process_resident_memory_bytes" in text


async def test_the_wait_for_a_drain_may_come_before_its_trigger(rig: Rig, admin: Served) -> None:
    waiter = asyncio.create_task(admin.get("/drain/wait"))
    await stays(lambda: not waiter.done(), 0.2)
    rig.drainer.start(0.0)
    assert await asyncio.wait_for(waiter, 5) == (200, "drained\n")
    assert await admin.get("/drain/wait") == (200, "drained\n"), "and after it"


async def test_waiters_are_bounded_and_one_that_leaves_makes_room(rig: Rig, admin: Served) -> None:
    waiters = [asyncio.create_task(admin.get("/drain/wait")) for _ in range(MAX_WAITERS)]

    async def is_full() -> bool:
        try:
            return (await asyncio.wait_for(admin.get("/drain/wait"), 0.5))[0] == 503
        except TimeoutError:
            return False

    await eventually(is_full)
    waiters.pop().cancel()
    waiter = asyncio.create_task(_until_taken(admin))
    await stays(lambda: not waiter.done(), 0.3)
    rig.drainer.start(0.0)
    answers = await asyncio.wait_for(asyncio.gather(waiter, *waiters), 10)
    assert set(answers) == {(200, "drained\n")}


async def _until_taken(admin: Served) -> tuple[int, str]:
    async def taken() -> tuple[int, str] | None:
        answer = await admin.get("/drain/wait")
        return None if answer[0] == 503 else answer

    answer = await eventually(taken)
    assert answer is not None
    return answer


async def test_ending_lets_the_last_answers_out(rig: Rig, serving: Any) -> None:
    port = AdminPort(rig.health, rig.metrics, rig.control)
    runner = await serve(port.app(), "127.0.0.1", 0)
    async with aiohttp.ClientSession() as session:
        waiter = asyncio.create_task(Served(runner, session).get("/drain/wait"))
        await stays(lambda: not waiter.done(), 0.1)
        await rig.drainer.finish(0.0)
        await asyncio.wait_for(runner.cleanup(), 5)
        assert await waiter == (200, "drained\n")


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:9090", "guard.localhost", "127.0.0.1:1", "10.1.2.3:9090", "[::1]:9090", "[fd00::7]"],
)
async def test_loopback_names_and_addresses_are_answered(admin: Served, host: str) -> None:
    assert (await admin.get("/livez", {"Host": host}))[0] == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("rebound.evil.test", 403),
        ("localhost.evil.test", 403),
        ("127.0.0.1.evil.test", 403),
        ("a@127.0.0.1", 400),
        ("127.0.0.1, evil.test", 400),
        ("", 400),
        ("0x7f000001", 400),
    ],
)
async def test_other_hosts_are_not(admin: Served, host: str, status: int) -> None:
    assert (await admin.get("/livez", {"Host": host}))[0] == status


async def test_a_host_may_be_allowed(serving: Any) -> None:
    admin = await serving(allowed_hosts=("metrics.corp.test",))
    assert (await admin.get("/metrics", {"Host": "Metrics.corp.test:9090"}))[0] == 200
    assert (await admin.get("/metrics", {"Host": "other.corp.test"}))[0] == 403
    assert (await admin.get("/metrics", {"Host": "127.0.0.1"}))[0] == 200
    anywhere = await serving(allowed_hosts=("*",))
    assert (await anywhere.get("/metrics", {"Host": "other.corp.test"}))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://localhost"},
        {"Origin": "\udcff"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize("path", ["/metrics", "/drain/wait", "/v1/connections"])
async def test_another_sites_page_gets_nothing(admin: Served, headers: dict[str, str], path: str) -> None:
    assert (await admin.get(path, headers))[0] == 403


async def test_a_page_of_its_own_is_answered(admin: Served) -> None:
    assert (await admin.get("/metrics", {"Origin": admin.url, "Sec-Fetch-Site": "same-origin"}))[0] == 200
    assert (await admin.get("/metrics", {"Sec-Fetch-Site": "none"}))[0] == 200


async def test_without_a_token_file_there_is_no_control_api(rig: Rig, admin: Served) -> None:
    status, text = await admin.get("/v1/connections", {"Authorization": "Bearer "})
    assert status == 404
    assert "tokenFile" in text


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic c2VjcmV0", "Basic secret", "secret", "Bearer sécret"],
)
async def test_a_wrong_token_is_told_so(serving: Any, authorization: str | None) -> None:
    admin = await serving(token=lambda: b"secret\n")
    headers = {} if authorization is None else {"Authorization": authorization}
    for method, path in (
        ("GET", "/v1/connections"),
        ("POST", "/v1/logout"),
        ("POST", "/v1/drain"),
        ("GET", "/v1/policies"),
    ):
        status, text = await admin.get(path, headers, method)
        assert status == 401
        assert "secret" not in text
    assert (await admin.get("/livez", headers))[0] == 200


async def test_the_token_opens_the_control_api_and_may_change(rig: Rig, serving: Any) -> None:
    token = b"secret\n"
    admin = await serving(token=lambda: token)
    assert (await admin.get("/v1/connections", {"Authorization": "Bearer secret"}))[0] == 200
    assert (await admin.get("/v1/policies", {"Authorization": "bearer secret"}))[0] == 200
    token = b"rotated"
    assert (await admin.get("/v1/connections", {"Authorization": "Bearer secret"}))[0] == 401
    assert (await admin.get("/v1/connections", {"Authorization": "Bearer rotated"}))[0] == 200


async def test_an_empty_token_file_opens_nothing(serving: Any) -> None:
    admin = await serving(token=lambda: b"\n")
    assert (await admin.get("/v1/connections", {"Authorization": "Bearer "}))[0] == 404


@pytest.mark.parametrize(
    "path", ["/%761/connections", "/v1%2Fconnections", "//v1/connections", "/v1/../v1/connections"]
)
async def test_no_spelling_of_a_path_goes_round_the_token(serving: Any, path: str) -> None:
    admin = await serving(token=lambda: b"secret")
    assert (await admin.get(path))[0] in (401, 404)


async def test_unknown_paths_are_problems(admin: Served) -> None:
    assert (await admin.get("/page"))[0] == 404
    assert (await admin.get("/livez", method="POST"))[0] == 405


async def test_the_page_is_whole_and_lets_nothing_else_in(admin: Served) -> None:
    for path, (_, kind) in PATHS.items():
        status, text, headers = await admin.fetch(path)
        assert (status, headers["Content-Type"]) == (200, f"{kind}; charset=utf-8")
        policy = dict(each.split(" ", 1) for each in headers["Content-Security-Policy"].split("; "))
        assert {name for name, sources in policy.items() if sources == "'self'"} == {
            "script-src",
            "style-src",
            "connect-src",
        }
        rest = ("default-src", "base-uri", "form-action", "frame-ancestors")
        assert {policy[name] for name in rest} == {"'none'"}
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "http://" not in text  # nothing from elsewhere
        assert "https://" not in text


async def test_the_overview_needs_no_token_and_names_nobody(rig: Rig, serving: Any) -> None:
    admin = await serving(token=lambda: b"secret")
    rig.connect("c1", identity("alice", sid="s1"))
    rig.metrics.decided(decided("refused", CloseReason.ORIGIN_DENIED))
    status, text = await admin.get("/v1/overview")
    told = json.loads(text)
    assert status == 200
    assert told["connections"] == [{"policy": "chat", "value": 1}]
    assert told["handshakes"] == [{"policy": "chat", "result": "refused", "reason": "origin-denied", "value": 1}]
    assert (told["revision"], told["policies"], told["drain"]["state"]) == ("0a1b2c", ["chat"], "serving")
    assert not told["lastReloadFailed"]
    rig.loaded = replace(rig.loaded, last_error="policies/chat.yaml:1:1: error: no")
    assert json.loads((await admin.get("/v1/overview"))[1])["lastReloadFailed"]
    assert not {"alice", "s1", "c1", "192.0.2.7", "https://app.test"} & set(re.findall(r'"([^"]*)"', text))
