"""A whole guard at its most talkative, and every place where a secret may stand: nothing that it says has one in it."""

from __future__ import annotations

from contextlib import suppress

import aiohttp
import pytest

from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.client import connect
from tests.support.guard import JWT, Guard, policy

WORD = "s3krit"
EVERYWHERE = (
    "{cookies: [session], headers: [{name: Authorization, valuePrefix: 'Bearer '}], params: [access_token], "
    "subprotocols: [{prefix: bearer.}]}"
)
SPEC = f"streams: [WebSocket, ServerSentEvents]\n{JWT}".replace("{cookies: [session]}", EVERYWHERE)
TALKATIVE = "apiVersion: wsguard.dev/v1\nkind: GuardConfig\nspec: {logging: {level: debug}}\n"
EVENTS = ("Accept", "text/event-stream")


def requests(good: str) -> list[bytes]:
    """With `good`, a token, in each place, and with what is none; whole and torn."""
    found = []
    for secret in (good, f"{WORD}.{WORD}.{WORD}", WORD, f"{good[:-2]}AA", f"{good}\xff"):
        for query, fields in (
            ("", [("Cookie", f"session={secret}")]),
            ("", [("Cookie", f"session={secret}; session={WORD}")]),
            ("", [("Authorization", f"Bearer {secret}")]),
            ("", [("Authorization", f"Basic {WORD}"), ("X-Forwarded-For", WORD), ("Forwarded", f'for="{WORD}')]),
            (f"?access_token={secret}&a={WORD}", []),
            ("", [("Sec-WebSocket-Protocol", f"bearer.{secret}")]),
        ):
            whence = [("Origin", "http://localhost"), *fields]
            found.append(wire.upgrade(f"/ws{query}", fields=whence))
            found.append(wire.request("GET", f"/ws{query}", [("Host", "localhost"), EVENTS, *whence]))
    torn = (f"Cookie: session={good}\0", f"Cookie : session={good}", WORD, f"Transfer-Encoding: {WORD}")
    return [*found, *(f"GET /?{WORD} HTTP/1.1\r\nHost: localhost\r\n{line}\r\n\r\n".encode() for line in torn)]


@pytest.mark.parametrize("answer", ["accepts", "refuses", "breaks"])
async def test_nothing_that_a_guard_says_has_a_secret_in_it(backend: RecordingBackend, answer: str) -> None:
    broken = f"HTTP/1.1 200 OK\r\nX-Secret {WORD}\r\nSet-Cookie: session={WORD}\r\n\r\n{WORD}".encode()
    backend.answer = {
        "accepts": answers.accept(),
        "refuses": answers.reply(403, WORD.encode(), [("Set-Cookie", f"session={WORD}"), ("Location", f"/?{WORD}")]),
        "breaks": answers.raw(broken),
    }[answer]
    backend.respond = answers.raw(broken) if answer == "breaks" else answers.reply(403, WORD.encode())
    async with Guard(backend, {"guard.yaml": TALKATIVE, "policy.yaml": policy(SPEC)}) as guard:
        good = guard.issuer.token(sid=f"sid-{WORD}", jti=f"jti-{WORD}", lives=3600)
        for request in requests(good):
            async with connect(guard.port) as client:
                await client.send(request)
                with suppress(ConnectionError, EOFError):
                    await client.reader.read(4096)
        for asked in ({"sid": f"sid-{WORD}"}, {"jti": f"jti-{WORD}"}, {"cookie": good}, {"cookie": WORD}, {WORD: WORD}):
            await guard.ask("POST", "/v1/logout", asked)
        said = "\n".join([*guard.program.lines, *guard.program.errors])
        async with aiohttp.ClientSession() as session, session.get(f"{guard.admin}/metrics") as response:
            said += await response.text()
        for path in ("connections", "policies", "overview", "drain", "migrate"):
            said += str(await guard.ask("GET", f"/v1/{path}"))
        assert said.count('"event": "handshake"') > 20, "it has had something to say"
        assert WORD not in said
        assert good.rpartition(".")[2][:20] not in said
        assert good.split(".")[1] not in said
