"""docs/legacy-app.md, told to its end: a guard under Audit, a day's traffic, the report, a better policy, Enforce."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from tests.scenarios.apps.cookie_app import CookieApp
from tests.support.guard import Guard
from tests.support.programs import ROOT
from tests.support.waiting import eventually
from wsguard.cli import _parser

TEXT = (ROOT / "docs/legacy-app.md").read_text("utf-8")
FENCES: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
TRAIL = "/var/log/wsguard/audit.log"
HOST, OURS, PARTNER, EVIL = (
    "app.example.com",
    "https://app.example.com",
    "https://partner.example",
    "https://evil.example",
)
TIMES = re.compile(r"from \S+Z to \S+Z")


class Story:
    """The document's files and commands, on this machine: other ports, and the trail in a folder of the test."""

    def __init__(self, app: CookieApp) -> None:
        self.app = app
        app.sessions["1f3a"] = "ann"
        files = dict(self.file(text) for kind, text in FENCES[:2] if kind == "yaml")
        self.guard = Guard(app.url, files)
        self.folder = self.guard.folder.parent
        self.guard.write("guard.yaml", files["guard.yaml"].replace(TRAIL, str(self.trail)))

    @property
    def trail(self) -> Path:
        """Where the audit trail is."""
        return self.folder / "audit.log"

    def file(self, text: str) -> tuple[str, str]:
        """The name that a block begins with, and what is in it."""
        first, _, rest = text.partition("\n")
        folder, _, name = first.removeprefix("# ").partition("/")
        assert folder == "policies"
        return name, rest.replace(":3000/", f":{self.app.port}/")

    def run(self, line: str) -> str:
        """One command, by a shell in the folder above `policies`; what it printed."""
        line = line.replace(TRAIL, str(self.trail))
        line = re.sub(r"\bwsguard (?=check|report|explain|test)", f"{shlex.quote(sys.executable)} -m wsguard ", line)
        done = subprocess.run(line, shell=True, cwd=self.folder, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), line
        return done.stdout

    def loaded(self) -> int:
        """How often policies have come into force, by the trail."""
        return self.trail.read_text("utf-8").count('"policies_loaded"')

    async def knock(self, origin: str, cookie: str = "") -> int | None:
        """Come and go; the close code, None for a socket that is open."""
        async with self.dialled(origin, cookie) as socket:
            message = await asyncio.wait_for(socket.receive(), 10)
            return int(message.data) if message.type is aiohttp.WSMsgType.CLOSE else None

    @asynccontextmanager
    async def dialled(self, origin: str, cookie: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A page's socket, by the application's public name."""
        headers = {"Host": HOST, "Origin": origin, **({"Cookie": f"sid={cookie}"} if cookie else {})}
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{self.guard.ws}/ws", headers=headers, autoclose=False) as socket,
        ):
            yield socket


async def test_the_story_ends_as_it_says() -> None:
    async with CookieApp() as app:
        story = Story(app)
        async with story.guard as guard:
            for kind, text in FENCES[2:]:
                if kind == "yaml":
                    name, content = story.file(text)
                    guard.write(name, content)
                    if not name.endswith(".test.yaml"):
                        await eventually(lambda: story.loaded() == 2, what="the better policy is in force")
                    continue
                for entry in text.removeprefix("$ ").split("\n$ "):
                    line, _, expected = entry.partition("\n")
                    await told(story, line, expected.rstrip("\n"))


async def told(story: Story, line: str, expected: str) -> None:
    """One command of the document, and what the world does then."""
    if line.startswith("wsguard run "):
        args = _parser().parse_args(shlex.split(line)[1:])
        assert (args.policy, args.backend) == (["policies"], "http://127.0.0.1:3000")
        day = [(OURS, "1f3a"), (OURS, "1f3a"), (OURS, ""), (EVIL, "1f3a"), *[(PARTNER, "1f3a")] * 3]
        assert [await story.knock(origin, cookie) for origin, cookie in day] == [None] * 7  # nobody is refused
        return
    printed = await asyncio.to_thread(story.run, line)
    if expected:
        assert TIMES.sub("", printed.rstrip("\n")) == TIMES.sub("", expected)
    elif "--replay" in line:
        assert "https://partner.example is allowed" in printed
    elif "Enforce" in line:
        await enforced(story)


async def enforced(story: Story) -> None:
    """The running guard takes the file; the evil page is refused, the partner's is not."""
    await eventually(lambda: story.loaded() == 3, what="the policy is enforced")
    assert await story.knock(EVIL, "1f3a") == 4403
    assert await story.knock(PARTNER, "1f3a") is None
