"""What is remembered of answers has a bound, in bytes; and of what nobody asks for any more nothing is left."""

from __future__ import annotations

import asyncio

import pytest

from tests.identity.key_server import HandClock
from tests.support.garbage import nothing_is_left
from wsguard.identity.asking import MAX_REMEMBERED, Asker, Known


@pytest.mark.parametrize(("size", "most"), [(64 << 10, MAX_REMEMBERED >> 16), (100, MAX_REMEMBERED >> 10)])
async def test_as_many_answers_are_remembered_as_fit(size: int, most: int) -> None:
    asker: Asker[int] = Asker(HandClock(), lambda: 0, 8)

    async def answer(number: int) -> Known[int]:
        return Known(number, 60.0, size)

    for number in range(most + 10):
        assert await asker.ask(b"%d" % number, lambda number=number: answer(number)) == number  # type: ignore[misc]
    kept = [number for number in range(most + 10) if asker.recall(b"%d" % number) == number]
    assert kept == list(range(10, most + 10)), "the latest"


async def test_a_question_that_is_given_up_does_not_wait_for_the_collector() -> None:
    """Whoever leaves in a handshake gives one up."""
    asker: Asker[int] = Asker(HandClock(), lambda: 0, 8)
    put = asyncio.Event()

    async def hang() -> Known[int]:
        put.set()
        await asyncio.sleep(60.0)
        raise AssertionError

    async with nothing_is_left():
        asking = asyncio.create_task(asker.ask(b"", hang))
        await put.wait()
        asking.cancel()
        await asyncio.wait((asking,))
        del asking
