"""Raw requests that two parsers could read differently: nothing slips past the guard."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.backend import RecordingBackend
from tests.support.client import RawClient, connect
from tests.support.guard import Guard

FOLDER = Path(__file__).parents[1] / "corpus" / "handshakes"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class Case:
    """One entry of the corpus; tests/corpus/README.md says what its fields mean."""

    id: str
    raw: bytes
    status: tuple[int, ...]
    requests: tuple[int, ...]
    upgrades: tuple[int, ...]
    torn: bool


def _load() -> list[Case]:
    return [
        Case(
            f"{path.stem}/{entry['name']}",
            "".join(_part(part) for part in entry["request"]).encode("latin-1"),
            tuple(entry["status"]),
            tuple(entry.get("requests", [0])),
            tuple(entry.get("upgrades", [0])),
            entry.get("torn", False),
        )
        for path in sorted(FOLDER.glob("*.json"))
        for entry in json.loads(path.read_text())
    ]


def _part(part: str | dict[str, Any]) -> str:
    if isinstance(part, str):
        return part
    repeated: str = part["repeat"] * part["times"]
    return repeated


CASES = _load()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def pair() -> AsyncIterator[tuple[Guard, RecordingBackend]]:
    """One guard for the whole corpus: a case that hurts it fails the next one too."""
    async with RecordingBackend() as backend, Guard(backend) as guard:
        yield guard, backend


@pytest.mark.parametrize("way", ["whole", "dripping"])
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
async def test_case(case: Case, way: str, pair: tuple[Guard, RecordingBackend]) -> None:
    """The right answer, and nothing at the backend that should not be there."""
    guard, backend = pair
    seen = len(backend.requests)
    async with connect(guard.port) as client:
        sending = asyncio.create_task(_send(client, case.raw, way))
        statuses = await _statuses(client, max(1, *case.requests))
        sending.cancel()
        if set(case.upgrades) == {0} and max(case.requests) == 0:
            await _ends(client)
    await _barrier(guard, backend)
    came = backend.requests[seen:-1]
    assert not [head.start for head in came if "smuggled" in head.target]
    assert len([head for head in came if head.is_upgrade]) in case.upgrades, [head.start for head in came]
    assert len([head for head in came if not head.is_upgrade]) in case.requests, [head.start for head in came]
    assert set(statuses) <= set(case.status), statuses
    # Dripping, a client still sends when its answer comes and the connection ends: the reset can overtake the answer.
    assert statuses or case.torn or way == "dripping", "no answer at all"


async def _send(client: RawClient, raw: bytes, way: str) -> None:
    with suppress(ConnectionError):
        if way == "whole":
            await client.send(raw)
        elif len(raw) < 8192:
            await client.drip(raw)
        else:  # a byte at a time would be a test of patience
            for at in range(0, len(raw), 997):
                await client.send(raw[at : at + 997])


async def _statuses(client: RawClient, expected: int) -> list[int]:
    """The statuses of up to `expected` answers; fewer where the connection ends before."""
    statuses: list[int] = []
    with suppress(EOFError, ConnectionError):
        while len(statuses) < expected:
            head = await client.head()
            statuses.append(head.status)
            if head.status != 101:
                await client.body(head)
    return statuses


async def _ends(client: RawClient) -> None:
    """A refused connection is closed, so that what follows is read by nobody."""
    with suppress(ConnectionError):
        await client.rest()


async def _barrier(guard: Guard, backend: RecordingBackend) -> None:
    """A request of our own, behind whatever the case may have let loose."""
    count = len(backend.requests)
    async with connect(guard.port) as client:
        await client.send(b"GET /barrier HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await client.head()).status == 200
    assert len(backend.requests) > count
    assert backend.requests[-1].target == "/barrier"
