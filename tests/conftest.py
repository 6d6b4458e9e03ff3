"""What every test has at hand: a recording backend."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.backend import RecordingBackend
from tests.support.guard import Guard

# pydantic looks through every installed package for plugins of its own, in each guard that starts; there are none.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

Guard.is_born = True

# How long an example takes is the machine's affair: no test fails because something else ran beside it.
settings.register_profile("wsguard", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("wsguard")


@pytest.fixture
async def backend() -> AsyncIterator[RecordingBackend]:
    """A backend that accepts every upgrade and records; tests change its `answer`."""
    async with RecordingBackend() as running:
        yield running
