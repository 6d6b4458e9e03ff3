"""Plain HTTP through the guard, where the backend answers wrongly."""

from __future__ import annotations

import pytest

from tests.proxy.house import House
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.client import connect

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    "answer",
    [
        f"HTTP/1.1 200 OK\r\nSet Cookie: session={SECRET}\r\n\r\n",
        f"HTTP/1.1 200 OK\r\nSet-Cookie: session={SECRET}\r\nContent-Len",
        f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n{SECRET}\r\n",
        f"{SECRET}\r\n\r\n",
        "",
    ],
    ids=["bad field", "half a head", "bad chunk", "no HTTP", "nothing"],
)
async def test_a_broken_answer_is_told_without_quoting_it(backend: RecordingBackend, answer: str) -> None:
    """Neither what the backend sent nor the query of the request gets into the log."""
    backend.respond = answers.raw(answer.encode())
    async with House(backend) as house, connect(house.port) as client:
        await client.send(wire.request("GET", f"/page?token={SECRET}", [("Host", "localhost")]))
        await client.rest()
        told = house.notebook.turned
    assert len(told) == 1
    assert SECRET not in told[0][1]
    assert SECRET.encode() not in client.received


async def test_a_backend_that_is_not_there_is_named_as_such() -> None:
    """What the system says of it is for the log."""
    async with House("http://127.0.0.1:1") as house, connect(house.port) as client:
        await client.send(wire.request("GET", "/page", [("Host", "localhost")]))
        assert (await client.head()).status == 502
        [(status, told)] = house.notebook.turned
        assert status == 502
        assert "127.0.0.1" in told
