"""`wsguard demo --tour` tells the truth: whole with the guard, and not without it."""

from __future__ import annotations

import asyncio
import io
import signal
import sys
from pathlib import Path
from typing import cast

import pytest
from aiohttp.test_utils import TestServer
from yarl import URL

from tests.support.ports import free_port
from tests.support.programs import Program
from wsguard.demo import browser, tour
from wsguard.demo.guard import Guard, GuardError, furnish
from wsguard.demo.legacy import Chat
from wsguard.demo.stage import Stage
from wsguard.demo.terminal import Terminal
from wsguard.protocol.reasons import CloseReason


async def test_every_expected_code_is_observed() -> None:
    program = Program(sys.executable, "-m", "wsguard", "demo", "--tour")
    await program.start()
    status = await program.wait(60.0)
    told = "\n".join(program.lines)
    assert status == 0, told
    for reason in (CloseReason.ORIGIN_DENIED, CloseReason.CREDENTIAL_MISSING, CloseReason.SESSION_EXPIRED):
        assert f"= {reason.code} {reason.token}" in told
    assert told.count("= 4441 logged-out") == 2
    assert "= 4403 backend-refused" in told
    assert "= 1012 draining, spread retry-after, exit 0" in told
    assert f"All {len(tour.SCENES)} observed" in told
    assert "\x1b" not in told


async def test_an_interrupted_tour_ends_everything() -> None:
    program = Program(sys.executable, "-m", "wsguard", "demo", "--tour")
    await program.start()
    await program.line("The token expires")
    program.process.send_signal(signal.SIGTERM)
    assert await program.wait() == 130
    assert not program.errors


class NoGuard:
    """Stands where the guard would: nothing can be asked of it."""

    async def command(self, *words: str) -> str:
        raise GuardError("there is no guard")

    async def drain(self, deadline: float) -> int:
        raise GuardError("there is no guard")


async def test_without_a_guard_the_story_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "PATIENCE", 0.5)
    monkeypatch.setattr(tour, "SHORT_LIFE", 0.1)
    out = io.StringIO()
    async with TestServer(Chat(bytes(32)).application()) as server:
        site = URL(f"http://app.localhost:{server.port}")
        evil = URL("http://evil.app.localhost:1")
        missing = await tour.play(Stage(site, site, evil, cast("Guard", NoGuard())), Terminal(out))
    table = out.getvalue().partition("   step ")[2].splitlines()
    kept = [line.strip().split("  ")[0] for line in table if line.endswith(" ok")]
    assert kept == [
        "Hijack, straight at the application",
        "The application's own 403, straight",
        "A good login",
        "A new login does",
    ]
    assert missing == len(tour.SCENES) - len(kept)
    assert "GuardError: there is no guard" in out.getvalue()


async def test_a_guard_that_cannot_start_says_why(tmp_path: Path) -> None:
    """Somebody was quicker: its port was free when the demo looked."""
    furnish(tmp_path, bytes(32))
    taken = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with taken:
        port = taken.sockets[0].getsockname()[1]
        with pytest.raises(GuardError, match=r"(?s)ended with exit status 2:.*in use"):
            await Guard.start(tmp_path, backend=free_port(), port=port, admin=free_port())
