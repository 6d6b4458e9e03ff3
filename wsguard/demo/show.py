"""The demonstration as a whole: told in the terminal, or served for a browser until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from wsguard.demo import deploy
from wsguard.demo.browser import ABNORMAL
from wsguard.demo.guard import GuardError, control_socket
from wsguard.demo.stage import Ports, Stage, stage
from wsguard.demo.terminal import Terminal
from wsguard.demo.tour import FORBIDDEN, SCENES, play, reads
from wsguard.protocol.reasons import CloseReason

_DRAIN_DEADLINE = 15.0
_INTERRUPTED = 130
_Result = TypeVar("_Result")


async def show(*, tour: bool, first_port: int | None) -> int:
    """Run the demonstration; returns the exit status: 0 done, 1 something expected was not observed."""
    terminal, stop = Terminal(), _stop()
    terminal.title("A chat that checks nothing, an evil site, and wsguard between")
    try:
        async with stage(Ports.in_a_row(first_port) if first_port else Ports()) as set_up:
            if not tour:
                return await _serve(set_up, terminal, stop)
            return await _played(stop, _tell(set_up, terminal))
    except (GuardError, OSError) as error:
        return _failed(error)


async def show_deploy(port: int | None) -> int:
    """Run the deploy; returns the exit status: 0 done, 1 somebody lost something."""
    terminal, stop = Terminal(), _stop()
    terminal.title("A deploy: version 1 of the chat becomes version 2 under its clients")
    try:
        return await _played(stop, deploy.play(terminal, port or 0))
    except (GuardError, OSError) as error:
        return _failed(error)


def _stop() -> asyncio.Event:
    """Set at Ctrl-C."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _played(stop: asyncio.Event, story: Coroutine[Any, Any, int]) -> int:
    status = await _unless(stop, story)
    return _INTERRUPTED if status is None else status


def _failed(error: Exception) -> int:
    print(f"wsguard demo: {error}", file=sys.stderr)
    return 1


async def _tell(set_up: Stage, terminal: Terminal) -> int:
    since = time.monotonic()
    missing = await play(set_up, terminal)
    took = f"{time.monotonic() - since:.0f} s"
    terminal.line()
    if not missing:
        terminal.line(f"All {len(SCENES)} observed in {took}.")
        return 0
    terminal.line(f"{missing} of {len(SCENES)} did not come out as expected ({took}). The guard's last words:")
    for line in set_up.guard.last_words().splitlines():
        terminal.aside(line)
    return 1


async def _serve(set_up: Stage, terminal: Terminal, stop: asyncio.Event) -> int:
    _invite(set_up, terminal)
    status = await _unless(stop, set_up.guard.process.wait())
    if status is not None:
        raise GuardError(f"the guard ended by itself with exit status {status}:\n{set_up.guard.last_words()}")
    terminal.title(f"Draining: open pages read {reads(CloseReason.DRAINING)}, and when to come back.")
    return await set_up.guard.drain(_DRAIN_DEADLINE)


def _invite(set_up: Stage, terminal: Terminal) -> None:
    folder = set_up.guard.folder
    control = control_socket(folder)
    refused = reads(CloseReason.BACKEND_REFUSED, plus=FORBIDDEN)
    terminal.line()
    terminal.line(f"the application, guarded     {set_up.guarded}")
    terminal.line(f"the application, unguarded   {set_up.unguarded}")
    terminal.line(f"the evil site                {set_up.evil}")
    terminal.title("In a browser")
    terminal.line("1. Log in at the guarded application and say something in the chat.")
    terminal.line("2. Open the evil site in the same browser: straight at the application it reads your chat,")
    terminal.line(f"   through the guard it reads {reads(CloseReason.ORIGIN_DENIED)}.")
    terminal.line(f"3. Enter the closed room: {refused}; unguarded, the page knows only {ABNORMAL}.")
    terminal.line(f"4. Log in for 20 seconds and wait: {reads(CloseReason.SESSION_EXPIRED)}.")
    terminal.title("In another terminal")
    terminal.line(f"wsguard connections --control {control}")
    terminal.line(f"wsguard logout --subject alice --control {control}")
    terminal.line(f"tail -f {folder / 'guard.log'}")
    terminal.aside(f"The policies in {folder / 'policies'} are watched: edit them and see.")
    terminal.title("Ctrl-C drains the guard and ends everything.")


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, _Result]) -> _Result | None:
    """What `work` returns; None where `stop` comes first."""
    task, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for each in (task, stopping):
            each.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(task, stopping)
