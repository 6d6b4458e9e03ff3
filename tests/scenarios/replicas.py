"""Guards of one application over one stream, and clients that know how they ended."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.contracts.engines import Engine
from tests.support.backend import RecordingBackend
from tests.support.guard import JWT, Guard, policy
from tests.support.tokens import Issuer


def events(*sources: dict[str, Any], **more: Any) -> str:
    """A GuardConfig with these sources of session events."""
    said = {"sources": list(sources), "onGap": "CloseAll", "replayWindow": "24h", **more}
    spec = {"sessionEvents": {name: value for name, value in said.items() if value is not None}}
    return f"apiVersion: wsguard.dev/v1\nkind: GuardConfig\nspec: {json.dumps(spec)}\n"


def replica(
    backend: RecordingBackend, engine: Engine, port: int | None = None, host: str = "127.0.0.1", **more: Any
) -> Guard:
    """A guard that demands a token and shares the engine's stream."""
    return Guard(backend, {"policy.yaml": policy(JWT), "guard.yaml": events(engine.spec(port, host), **more)})


class Socket:
    """A WebSocket through a guard, for the holder of `token`."""

    def __init__(self, guard: Guard, token: str) -> None:
        self.guard = guard
        self.token = token
        self._client: ClientConnection | None = None

    async def open(self) -> Socket:
        """Dial; a refusal shows as an end at once. Raises OSError where no guard answers."""
        self._client = await connect(
            f"{self.guard.ws}/ws",
            origin=self.guard.url,  # type: ignore[arg-type]
            additional_headers={"Cookie": f"session={self.token}"},
            ping_interval=None,
            close_timeout=1,
            open_timeout=20,
            proxy=None,
        )
        return self

    async def end(self, deadline: float | None = 10.0) -> tuple[int | None, str]:
        """Wait for the Close; its code and the reason's first word."""
        assert self._client is not None
        try:
            async with asyncio.timeout(deadline):
                await self._client.recv()
        except ConnectionClosed as closed:
            return (closed.rcvd.code, closed.rcvd.reason.split(" ")[0]) if closed.rcvd else (None, "")
        raise AssertionError("a message came")

    @property
    def is_open(self) -> bool:
        return self._client is not None and self._client.close_code is None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()


async def verdict(guard: Guard, token: str) -> str:
    """`open` where a handshake with `token` is admitted, else the reason of the refusal."""
    try:
        socket = await Socket(guard, token).open()
    except InvalidStatus as error:
        return str(error.response.status_code)
    try:
        async with asyncio.timeout(0.3):
            return (await socket.end())[1]
    except TimeoutError:
        return "open"
    finally:
        await socket.close()


def token_of(subject: str, **claims: Any) -> str:
    """A token that every replica believes."""
    return Issuer.of("HS256").token(subject, **claims)
