"""The page on the admin port, in a real browser before a real guard."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.browser import chromium, visit
from tests.support.client import connect
from tests.support.guard import JWT, Guard, policy
from wsguard.cli import main

SPEC = f"match: {{paths: [{{type: PathPrefix, value: /ws}}]}}\norigin: {{missing: Allow}}\n{JWT}"
CONFIG = """
apiVersion: wsguard.dev/v1
kind: GuardConfig
spec: {admin: {tokenFile: "{folder}/admin.token", allowedHosts: [guard.test]}, shutdown: {drainWindow: 60s}}
"""
FILES = {"policy.yaml": policy(SPEC), "admin.token": "open-sesame", "guard.yaml": CONFIG}
PICTURE = Path(__file__).parents[3] / "docs/images/page.png"


def _as(guard: Guard, subject: str) -> bytes:
    token = guard.issuer.token(sub=subject)
    return wire.upgrade(fields=[("Cookie", f"session={token}")])


async def test_it_shows_counts_to_all_and_people_to_who_has_the_token() -> None:
    async with (
        chromium() as browser,
        RecordingBackend(answers.accept(echo=True)) as backend,
        Guard(backend, FILES) as guard,
        connect(guard.port) as ann,
        connect(guard.port) as eve,
        connect(guard.port) as nobody,
    ):
        await ann.open(_as(guard, "ann"))
        await eve.open(_as(guard, "<b>eve</b>"))
        await nobody.open(wire.upgrade())
        page = await visit(browser, f"http://guard.test:{guard.admin_port}/")
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)

        await expect(page.locator("#connections")).to_have_text("2", timeout=15_000)
        await expect(page.locator("#policies tbody tr")).to_have_text(["chat2210"])
        await expect(page.locator("#refused li")).to_have_text(["credential-missing1"])
        await expect(page.locator("#handshakes")).to_have_text("0.0", timeout=15_000)
        assert "ann" not in await page.inner_text("main")

        await page.click("text=Show")
        await expect(page.locator("#search-words")).to_have_text("the bearer token is missing or wrong")
        errors.clear()  # the browser reports the 401
        await page.fill("#token", "open-sesame")
        await page.click("text=Show")
        rows = page.locator("#found tbody tr")
        await expect(rows).to_have_count(2)
        assert "<b>eve</b>" in await page.inner_text("#found")
        await page.fill("#subject", "ann")
        await page.click("text=Show")
        await expect(rows).to_have_count(1)
        if os.environ.get("WSGUARD_PICTURES"):
            PICTURE.parent.mkdir(exist_ok=True)
            await page.screenshot(path=PICTURE, full_page=True)
        shown = await rows.locator("td").first.inner_text()
        logged = await guard.log({"event": "handshake", "subject": "ann"})
        assert shown == logged["connection_id"]
        await rows.locator("button").click()
        assert (await ann.close_frame())[1].startswith("terminated")
        await expect(page.locator("#ended li")).to_have_text(["terminated1"], timeout=15_000)

        assert main(["drain", "--control", str(guard.control)]) == 0
        await expect(page.locator("#drain-words")).to_have_text("1 connections left, over 60s", timeout=15_000)
        assert not errors


@pytest.mark.parametrize("host", ["evil.test", "localhost.evil.test"])
async def test_a_name_that_was_pointed_here_gets_nothing(host: str) -> None:
    async with chromium() as browser, RecordingBackend() as backend, Guard(backend) as guard:
        page = await visit(browser, f"http://{host}:{guard.admin_port}/")
        assert "admin.allowedHosts" in await page.inner_text("body")


async def test_top_reads_a_running_guard(capsys: pytest.CaptureFixture[str]) -> None:
    async with RecordingBackend() as backend, Guard(backend, FILES) as guard, connect(guard.port) as ann:
        await ann.open(_as(guard, "ann"))
        assert main(["top", "--once", "--interval", "0.1", "--control", str(guard.control)]) == 0
        out = capsys.readouterr().out
        assert "1 connections" in out
        (row,) = [line for line in out.splitlines() if " ann " in line]
        assert row.startswith((await guard.log({"event": "handshake"}))["connection_id"])


async def test_it_shows_backends_where_there_are_several() -> None:
    """And where connections are moved to; the address of a backend is nobody's to read there."""
    async with RecordingBackend() as blue, RecordingBackend() as green, chromium() as browser:
        config = f"""
        apiVersion: wsguard.dev/v1
        kind: GuardConfig
        spec:
          backends: [{{name: blue, url: "{blue.url}"}}, {{name: green, url: "{green.url}"}}]
          admin: {{allowedHosts: [guard.test]}}
        """
        async with Guard("", {"policy.yaml": policy(), "guard.yaml": config}) as guard, connect(guard.port) as client:
            await client.open(wire.upgrade())
            page = await visit(browser, f"http://guard.test:{guard.admin_port}/")
            rows = page.locator("#backends tbody tr")
            await expect(rows).to_have_text(["blue (active)100", "green000"], timeout=15_000)
            assert main(["migrate", "--to", "green", "--window", "10m", "--control", str(guard.control)]) == 0
            await expect(rows).to_have_text(["blue100", "green (active)000"], timeout=15_000)
            await expect(page.locator("#migration-words")).to_have_text("migrating: to green over 600s, 0 of 1 closed")
            assert str(blue.port) not in await page.inner_text("body")
