"""A refusal that is plain HTTP: it ends the connection, so that nothing behind the handshake is read as a request."""

from __future__ import annotations

import pytest

from tests.proxy.house import House
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.client import connect
from wsguard.policy.model import PolicySpec, Rejection, RejectionMode

IN_HTTP = Rejection(mode=RejectionMode.HTTP_STATUS, foreign_origin=RejectionMode.HTTP_STATUS)
NO_ROOM = Rejection(max_lingering=0)
SMUGGLED = wire.request("GET", "/smuggled", [("Host", "localhost")])


@pytest.mark.parametrize(("rejection", "status"), [(IN_HTTP, 403), (NO_ROOM, 503)])
@pytest.mark.parametrize("origin", ["https://evil.example", None])
async def test_what_comes_behind_a_refused_handshake_is_no_request(
    backend: RecordingBackend, rejection: Rejection, status: int, origin: str | None
) -> None:
    """A proxy in front may pass a client's frames on before it has seen the 101; they may look like a request."""
    backend.answer = answers.reply(403)
    async with House(backend, PolicySpec(rejection=rejection)) as house, connect(house.port) as client:
        await client.send(wire.upgrade(origin=origin) + SMUGGLED)
        head = await client.head()
        assert (head.status, head.get("connection")) == (status, "close")
        await client.body(head)
        assert await client.rest() == b""
    assert "/smuggled" not in [request.target for request in backend.requests]
