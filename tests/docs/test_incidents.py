"""docs/incidents.md: everyone is logged out, and whoever has logged in anew comes back."""

from __future__ import annotations

import shlex

import aiohttp
import pytest

from tests.support.backend import RecordingBackend, accept
from tests.support.guard import JWT, Guard, policy
from tests.support.programs import ROOT
from tests.support.tokens import Issuer

CLOSE = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
TEXT = (ROOT / "docs/incidents.md").read_text("utf-8")
CUT = [
    shlex.split(line[2:])[1:] for line in TEXT.partition("let them knock again:\n\n```console\n")[2].splitlines()[:2]
]


async def knock(guard: Guard, token: str) -> aiohttp.WSMessage | None:
    """Come with this token; the Close, None where it is let in."""
    headers = {"Cookie": f"session={token}", "Origin": guard.url}
    async with aiohttp.ClientSession() as session, session.ws_connect(guard.ws, headers=headers) as socket:
        await socket.send_str("there?")
        message = await socket.receive(10)
        return message if message.type in CLOSE else None


async def test_everyone_is_logged_out_and_only_a_new_login_comes_back() -> None:
    async with RecordingBackend(accept(echo=True)) as backend, Guard(backend, policy(JWT)) as guard:
        old, new = guard.issuer.token(), Issuer.of("HS256", "k2")
        async with (
            aiohttp.ClientSession(cookies={"session": old}, headers={"Origin": guard.url}) as session,
            session.ws_connect(guard.ws) as socket,
        ):
            guard.forget()
            new.write_secret(guard.folder / "hmac.key")  # the first step
            await guard.log({"event": "policies_loaded"})
            assert [command for command, *_ in CUT] == ["drain", "drain"]
            for command, *arguments in CUT:
                status, _ = await guard.command(command, *arguments)
                assert status == 0
            message = await socket.receive(10)
            assert (message.data, str(message.extra).partition(" ")[0]) == (1012, "draining")
        refused = await knock(guard, old)
        assert refused is not None
        assert (refused.data, refused.extra) == (4401, "credential-invalid")
        assert await knock(guard, new.token()) is None


@pytest.mark.parametrize("name", ["reload_refused", "session_event_gap", "request_turned_away", "policies_loaded"])
def test_events_are_called_what_the_log_calls_them(name: str) -> None:
    assert f"`{name}`" in TEXT
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "wsguard").rglob("*.py"))
    assert f'"{name}"' in sources
