"""Every test here runs on both event loops, unless its module asks for one; and none may leave a task behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from tests.support.waiting import eventually


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The guard runs on uvloop; asyncio's own loop reads and pauses in other ways, and must do as well."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture(autouse=True)
async def _no_task_is_left() -> AsyncIterator[None]:
    yield
    own = asyncio.current_task()
    await eventually(lambda: asyncio.all_tasks() <= {own}, 3.0, what="the end of every task")
