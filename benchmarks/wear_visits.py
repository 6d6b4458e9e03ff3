"""Who comes to a guard that is to wear out: honest and broken visitors, and a backend with moods."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tests.proxy.faults import FAULTS, GARBAGE
from tests.support import wire
from tests.support.backend import Answer, Conversation, accept, raw, reply
from tests.support.client import RawClient, connect
from tests.support.guard import Guard
from tests.support.wire import Head

MOODS: list[tuple[int, Answer]] = [
    (88, accept(echo=True)),
    (1, raw(b"")),
    (1, raw(b"", close=False)),
    (1, raw(b"HTTP/1.1 101 Switching Protocols\r\nUpg")),
    (1, raw(GARBAGE)),
    (2, reply(503, b"busy")),
]
"""How often, and how a backend answers a handshake. What is left: it says yes, and then it fails."""


def moody(rng: random.Random) -> Answer:
    """An answer in another mood each time."""
    weights = [weight for weight, _ in MOODS]

    async def answer(conversation: Conversation, head: Head) -> None:
        if rng.random() < 0.06:
            await accept()(conversation, head) if rng.random() < 0.2 else await _fail_later(conversation, head, rng)
        else:
            (mood,) = rng.choices([mood for _, mood in MOODS], weights)
            await mood(conversation, head)

    return answer


async def _fail_later(conversation: Conversation, head: Head, rng: random.Random) -> None:
    talking = asyncio.ensure_future(accept(echo=True)(conversation, head))
    await asyncio.sleep(rng.uniform(0.05, 1.0))
    fault = FAULTS[rng.choice(list(FAULTS))]
    with suppress(OSError, RuntimeError):  # the other has left in the meantime, or this one has half-closed
        await fault(conversation)
        await talking


class Visitor:
    """Comes again and again, and keeps count of what it did."""

    def __init__(self, guard: Guard, rng: random.Random) -> None:
        self._guard, self._rng = guard, rng
        self.visits: Counter[str] = Counter()
        self._kinds: list[tuple[int, str, Callable[[RawClient], Awaitable[None]]]] = [
            (70, "conversations", self._converse),
            (5, "foreign origins", self._foreign),
            (5, "bad tokens", self._bad_token),
            (5, "broken heads", self._broken_head),
            (5, "half heads", self._half_a_head),
            (10, "polls", self._poll),
            (5, "cut uploads", self._cut_upload),
            (5, "floods", self._flood),
        ]

    async def visit(self, until: float) -> None:
        """Until the time is up. Whatever ends a visit early is one of its possible ends."""
        weights = [weight for weight, _, _ in self._kinds]
        while time.monotonic() < until:
            ((_, kind, act),) = self._rng.choices(self._kinds, weights)
            self.visits[kind] += 1
            with suppress(OSError, EOFError, RuntimeError, AssertionError):
                async with asyncio.timeout(20.0), connect(self._guard.port) as client:
                    await act(client)
            await asyncio.sleep(self._rng.uniform(0.0, 0.3))

    def _handshake(self, origin: str = "http://localhost", lives: float | None = None) -> bytes:
        rng = self._rng
        token = self._token(rng.choice([3.0, 600.0]) if lives is None else lives)
        extensions = rng.choice([None, "permessage-deflate"])
        return wire.upgrade(origin=origin, extensions=extensions, fields=[("Cookie", f"session={token}")])

    def _token(self, lives: float) -> str:
        rng = self._rng
        return self._guard.issuer.token(f"user{rng.randrange(20)}", lives=lives, sid=f"s{rng.random()}")

    async def _converse(self, client: RawClient) -> None:
        rng = self._rng
        await client.open(self._handshake())
        for _ in range(rng.randrange(8)):
            size = rng.choice([0, 5, 125, 126, 4_000, 66_000, 300_000])
            await client.send(
                wire.frame(
                    rng.choice((wire.TEXT, wire.BINARY, wire.PING)), bytes(min(size, 125 if size < 4_000 else size))
                )
            )
            await asyncio.sleep(rng.uniform(0.0, 0.2))
        if rng.random() < 0.4:
            await client.send(wire.frame(wire.CLOSE, b"\x03\xe8"))
            await client.rest()
        elif rng.random() < 0.5:
            how = rng.choice(list(FAULTS))
            await FAULTS[how](client)
            if how == "silence":
                await asyncio.sleep(rng.uniform(0.0, 8.0))
        else:
            await client.close_frame(15.0)

    async def _foreign(self, client: RawClient) -> None:
        await client.open(self._handshake(origin="https://evil.example"))
        await client.close_frame()

    async def _bad_token(self, client: RawClient) -> None:
        await client.open(self._handshake(lives=-600.0))
        if self._rng.random() < 0.5:
            await client.close_frame()

    async def _broken_head(self, client: RawClient) -> None:
        head = bytearray(self._handshake())
        for _ in range(self._rng.randrange(1, 5)):
            head[self._rng.randrange(len(head))] = self._rng.randrange(256)
        await client.send(bytes(head))
        await client.rest(5.0)

    async def _half_a_head(self, client: RawClient) -> None:
        await client.send(self._handshake()[: self._rng.randrange(300)])
        await client.rest(self._rng.uniform(0.0, 4.0))

    async def _poll(self, client: RawClient) -> None:
        body = bytes(self._rng.choice([0, 10, 100_000]))
        fields = [("Host", "localhost"), ("Origin", "http://localhost"), ("Content-Length", str(len(body)))]
        if self._rng.random() < 0.8:
            fields.append(("Cookie", f"session={self._token(600.0)}"))
        await client.send(wire.request("POST", "/app", fields) + body)
        if self._rng.random() < 0.8:
            await client.body(await client.head())

    async def _cut_upload(self, client: RawClient) -> None:
        fields = [("Host", "localhost"), ("Origin", "http://localhost"), ("Content-Length", "200000")]
        fields.append(("Cookie", f"session={self._token(600.0)}"))
        await client.send(wire.request("POST", "/app", fields) + bytes(self._rng.randrange(100_000)))
        await asyncio.sleep(self._rng.uniform(0.0, 0.3))
        if self._rng.random() < 0.5:
            client.reset()

    async def _flood(self, client: RawClient) -> None:
        """More than it may, and what comes back is not read."""
        await client.open(self._handshake(lives=600.0))
        burst = wire.frame(wire.BINARY, bytes(2_000)) * 50
        for _ in range(40):
            await client.send(burst)
