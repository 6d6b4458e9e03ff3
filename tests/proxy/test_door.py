"""What the door's own answers give away."""

from __future__ import annotations

from tests.support import wire
from tests.support.client import connect
from tests.support.guard import Guard, policy

REFUSING = policy("{origin: {missing: Deny}, rejection: {foreignOrigin: HTTPStatus}}")

ASKED = {
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "no HTTP": b"nonsense\r\n\r\n",
    "no handshake": wire.request("POST", "/ws", [("Host", "localhost"), ("Upgrade", "websocket")]),
    "a refusal by status": wire.upgrade(),
    "no backend": wire.request("GET", "/page", [("Host", "localhost")]),
}


async def test_its_answers_name_no_version_of_what_it_is_made_of() -> None:
    async with Guard("http://127.0.0.1:9", REFUSING) as guard:
        for name, asked in ASKED.items():
            async with connect(guard.port) as client:
                await client.send(asked)
                head = await client.head()
                assert head.status >= 400, name
                assert head.all("server") == ["wsguard"], name
