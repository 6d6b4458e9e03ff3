"""What every test has at hand: a recording backend."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.backend import RecordingBackend


@pytest.fixture
async def backend() -> AsyncIterator[RecordingBackend]:
    """A backend that accepts every upgrade and records; tests change its `answer`."""
    async with RecordingBackend() as running:
        yield running
