"""An exception that is kept keeps nothing else."""

from __future__ import annotations

import asyncio
import gc
import weakref

from wsguard.tracebacks import forget_cancellation, forget_traceback


class Thing:
    """What a frame holds."""


def _fails(thing: Thing) -> None:
    raise KeyError("first")


def _fails_after(thing: Thing) -> None:
    try:
        _fails(thing)
    except KeyError:
        raise ValueError("then") from None


def _caught() -> tuple[ValueError, weakref.ref[Thing]]:
    thing = Thing()
    try:
        _fails_after(thing)
    except ValueError as error:
        return error, weakref.ref(thing)
    raise AssertionError


def test_nor_does_what_it_came_of() -> None:
    error, thing = _caught()
    assert thing() is not None
    forget_traceback(error)
    assert thing() is None
    assert (str(error), str(error.__context__)) == ("then", "'first'")


def _fails_amid(thing: Thing) -> None:
    try:
        _fails(thing)
    except KeyError:
        raise ValueError("then") from TypeError("said to be why")


def test_nor_does_what_it_struck_amid() -> None:
    """As well as what is said to be its cause."""
    thing = Thing()
    known = weakref.ref(thing)
    try:
        _fails_amid(thing)
    except ValueError as error:
        kept = error
    del thing
    assert known() is not None
    forget_traceback(kept)
    assert known() is None


def test_a_ring_has_an_end() -> None:
    first, second = ValueError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    forget_traceback(first)
    forget_traceback(None)


async def test_a_task_that_was_cancelled() -> None:
    """It would be in a cycle with what cancelled it, by way of a variable of its own."""

    async def works() -> None:
        own = asyncio.current_task()
        await asyncio.sleep(60.0)
        assert own

    gc.collect()
    gc.disable()
    try:
        task = asyncio.create_task(works())
        task.add_done_callback(forget_cancellation)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
        known = weakref.ref(task)
        del task
        await asyncio.sleep(0)
        assert known() is None
    finally:
        gc.enable()


async def test_a_failure_is_still_to_be_told() -> None:
    """Only a cancellation is nobody's business; of a failure asyncio complains."""

    async def fails() -> None:
        raise ValueError

    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: complaints.append(about["message"]))
    task = asyncio.create_task(fails())
    task.add_done_callback(forget_cancellation)
    await asyncio.wait((task,))
    del task
    assert complaints == ["Task exception was never retrieved"]
