"""client.js outside a browser, on npm ws, before a real guard: for programs, and under a library."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.scenarios import servers
from tests.support import backend as answers
from tests.support.backend import RecordingBackend
from tests.support.guard import JWT, Guard, policy
from tests.support.programs import node

GUARDED = policy(JWT)


async def test_what_is_queued_arrives_in_order_and_whole() -> None:
    async with RecordingBackend(answers.accept("chat", echo=True)) as backend, Guard(backend, GUARDED) as guard:
        headers = {"Cookie": f"session={guard.issuer.token()}", "Origin": guard.url}
        messages = ["ä", "x" * 100_000, "last"]
        options = {"headers": headers, "protocols": ["chat"], "messages": messages, "bytes": [0, 255]}
        async with node("guarded-client.mjs", url=f"{guard.ws}/ws", **options) as client:
            closed = await client.event("close")
            assert await client.wait() == 0  # nothing keeps the program alive
        assert (closed["code"], closed["reason"]) == (1000, "done")
        assert [event.get("data") or event["bytes"] for event in client.events("message")] == [[0, 255], *messages]
        assert len(client.events("open")) == 1


@pytest.mark.parametrize(
    ("origin", "code", "reason"), [(None, 4401, "credential-missing"), ("https://evil.test", 4403, "origin-denied")]
)
async def test_a_final_refusal_ends_the_program(origin: str | None, code: int, reason: str) -> None:
    async with RecordingBackend() as backend, Guard(backend, GUARDED) as guard:
        headers = {"Origin": origin or guard.url}
        options = {"headers": headers, "messages": ["lost"], "client": {"firstDelay": 1}}
        async with node("guarded-client.mjs", url=f"{guard.ws}/ws", **options) as client:
            assert await client.wait() == 0
        assert [(event["code"], event["reason"]) for event in client.events("close")] == [(code, reason)]
        assert not client.events("open")
        assert await guard.metric("wsguard_handshakes_total") == 1


async def test_a_backend_that_is_away_is_waited_for_as_long_as_the_guard_asks() -> None:
    async with Guard("http://127.0.0.1:9", policy("")) as guard:
        options = {"headers": {"Origin": guard.url}, "client": {"firstDelay": 1}}
        async with node("guarded-client.mjs", url=f"{guard.ws}/ws", **options) as client:
            away = await client.event("away")
            assert (away["code"], away["advice"]) == (4502, "back off")
            assert away["reason"] == f"backend-unreachable retry-after={away['delay'] / 1000:g}"
            await client.event("away", count=2)
        lines = [await guard.log({"event": "handshake"}, count=count) for count in (1, 2)]
        first, second = (datetime.fromisoformat(line["time"]) for line in lines)
        assert (second - first).total_seconds() >= away["delay"] / 1000 - 0.05


async def test_it_stands_in_for_a_native_one_under_a_library() -> None:
    async with servers.npm_server("graphql-server.mjs") as (url, _), Guard(url, GUARDED) as guard:
        headers = {"Cookie": f"session={guard.issuer.token()}", "Origin": guard.url}
        query = "subscription { count(to: 3) }"
        options = {"url": f"{guard.ws}/graphql", "headers": headers, "query": query, "guarded": True}
        async with node("graphql-client.mjs", **options) as client:
            await client.event("complete")
        assert [event["data"]["count"] for event in client.events("next")] == [1, 2, 3]
