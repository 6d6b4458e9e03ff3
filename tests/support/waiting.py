"""Waiting is on a condition, with a deadline: no test sleeps for a guessed time."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(condition: Callable[[], Awaitable[T | None]], deadline: float = 10.0, what: str = "") -> T: ...
@overload
async def eventually(condition: Callable[[], T | None], deadline: float = 10.0, what: str = "") -> T: ...
async def eventually(condition: Callable[[], Any], deadline: float = 10.0, what: str = "") -> Any:
    """The first truthy value of `condition` (plain or async), asked again every few milliseconds.

    Raises AssertionError with `what` (or the condition's source) after `deadline` seconds.
    """
    until = time.monotonic() + deadline
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"not within {deadline} s: {what or _source(condition)}")
        await asyncio.sleep(0.01)


async def stays(condition: Callable[[], object], duration: float, what: str = "") -> None:
    """`condition` holds for `duration` seconds: how to show that something does *not* happen."""
    until = time.monotonic() + duration
    while time.monotonic() < until:
        assert condition(), f"did not stay for {duration} s: {what or _source(condition)}"
        await asyncio.sleep(0.01)


def _source(condition: object) -> str:
    try:
        return " ".join(inspect.getsource(condition).split())  # type: ignore[arg-type]
    except (OSError, TypeError):
        return repr(condition)
