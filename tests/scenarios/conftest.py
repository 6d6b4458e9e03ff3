"""A guard that stands for a whole module, where its policy is the default one: starting it is what costs most."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
import pytest_asyncio

from tests.support.backend import RecordingBackend
from tests.support.guard import Guard
from tests.support.waiting import eventually

stands = pytest.mark.asyncio(loop_scope="module")
"""For a test of `standing` in a module whose other tests have a guard of their own."""


class Standing(NamedTuple):
    """A guard with the default policy, and the backend behind it."""

    guard: Guard
    backend: RecordingBackend


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def standing_pair() -> AsyncIterator[Standing]:
    """For `standing` only."""
    async with RecordingBackend() as backend, Guard(backend) as guard:
        yield Standing(guard, backend)


@pytest_asyncio.fixture(loop_scope="module")
async def standing(standing_pair: Standing) -> Standing:
    """The module's guard and backend, both with nothing left of the test before.

    Its tests run on the module's event loop: `pytestmark = pytest.mark.asyncio(loop_scope="module")`.
    """
    guard, backend = standing_pair
    backend.reset()
    await eventually(guard.is_idle, what="the test before has left nothing open")
    guard.forget()
    return standing_pair
