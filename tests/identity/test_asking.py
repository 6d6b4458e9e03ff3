"""What is remembered of answers has a bound, in bytes."""

from __future__ import annotations

import pytest

from tests.identity.key_server import HandClock
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
