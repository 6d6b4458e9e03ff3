"""Every test here runs on both event loops, unless its module names its LOOPS; and none may leave a task behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import pytest
import uvloop

from tests.support.waiting import eventually


def pytest_asyncio_loop_factories(item: pytest.Function) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The guard runs on uvloop; asyncio's own loop reads and pauses in other ways, and must do as well."""
    factories = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
    wanted: Sequence[str] = getattr(item.module, "LOOPS", tuple(factories))
    return {name: factories[name] for name in wanted}


@pytest.fixture(autouse=True)
async def _no_task_is_left() -> AsyncIterator[None]:
    yield
    own = asyncio.current_task()
    await eventually(lambda: asyncio.all_tasks() <= {own}, 3.0, what="the end of every task")
