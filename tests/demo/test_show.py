"""`wsguard demo` serves what it prints, in a real browser too, and leaves nothing behind."""

from __future__ import annotations

import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import async_playwright

from tests.support.peace import steady
from tests.support.programs import Program, need
from wsguard.cli import main
from wsguard.demo.browser import Loopback
from wsguard.demo.guard import free_ports, port_problem


@pytest.fixture
async def demo() -> AsyncIterator[Program]:
    program = Program(sys.executable, "-m", "wsguard", "demo")
    await program.start()
    await program.line("Ctrl-C")
    yield program
    await program.end()


def printed(demo: Program, label: str) -> str:
    """The address after `label`."""
    line = next(line for line in demo.lines if line.strip().startswith(label))
    found = re.search(r"http://\S+", line)
    assert found is not None
    return found[0]


async def test_it_serves_until_a_signal_and_leaves_nothing(demo: Program) -> None:
    sites = [printed(demo, label) for label in ("the application, guarded", "the application, unguarded", "the evil")]
    folder = Path(next(line for line in demo.lines if "tail -f" in line).split()[-1]).parent
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Loopback())) as session:
        for site in sites:
            async with session.get(site) as answer:
                assert answer.status == 200
        demo.process.send_signal(signal.SIGINT)
        assert await demo.wait() == 0
        for site in sites:
            with pytest.raises(aiohttp.ClientConnectionError):
                await session.get(site)
    assert not folder.exists()
    assert not demo.errors


@pytest.mark.parametrize(("story", "place"), [("--tour", 0), ("--tour", 3), ("--deploy", 0)])
def test_a_port_that_is_taken_is_named(story: str, place: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is started: of the fourth the story would wait for an answer in vain."""
    first = next(port for port in iter(lambda: free_ports(1)[0], None) if not port_problem(range(port, port + 4)))
    with socket.create_server(("127.0.0.1", first + place)):
        assert main(["demo", story, "--port", str(first)]) == 2
    said, what = capsys.readouterr(), f"cannot listen on 127.0.0.1:{first + place}: Address already in use"
    more = "" if story == "--deploy" else f"; it takes the 4 ports from {first} on"
    assert (said.out, said.err) == ("", f"wsguard demo: --port {first}: {what}{more}\n")


async def test_the_pages_show_it_in_a_real_browser(demo: Program) -> None:
    async with steady(), async_playwright() as playwright:
        # Not the tests' own browser: this one finds *.localhost by itself, as a reader's does.
        browser = await playwright.chromium.launch(executable_path=need("chromium"), args=["--no-sandbox"])
        context = await browser.new_context()
        chat, thief = await context.new_page(), await context.new_page()
        await chat.goto(printed(demo, "the application, guarded"))
        await chat.click("form button")
        await chat.get_by_text("Welcome, alice.").wait_for()
        await chat.fill("#text", "a secret")
        await chat.click("#say button")
        await chat.get_by_text("alice: a secret").wait_for()

        await thief.goto(printed(demo, "the evil"))
        straight, guarded = thief.locator("section").first, thief.locator("section").last
        await straight.get_by_text("stolen: alice: a secret").wait_for()
        await guarded.get_by_text("closed: 4403 origin-denied").wait_for()
        assert "stolen" not in await guarded.inner_text()

        await chat.click("#archive")
        await chat.get_by_text("4403 backend-refused").wait_for()

        await chat.click("#lobby")
        await chat.get_by_text("alice: a secret").last.wait_for()
        demo.process.send_signal(signal.SIGTERM)
        await chat.get_by_text(
            "The socket ended: 1012 draining retry-after="
        ).first.wait_for()  # it comes back, and is refused
        assert await demo.wait() == 0
        await browser.close()
