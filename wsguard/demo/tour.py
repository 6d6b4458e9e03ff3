"""The story, played by itself: each scene says what must be seen on the wire, and returns what was.

What a scene did not see does not end the story: `play` turns time-outs and lost sockets into an observation
that does not hold, so that the table at the end is whole.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import aiohttp
from yarl import URL

from wsguard.demo.browser import ABNORMAL, PATIENCE, Browser, Ending
from wsguard.demo.guard import GuardError
from wsguard.demo.legacy import CLOSED_ROOM
from wsguard.demo.stage import LOBBY, Stage, lobby
from wsguard.demo.terminal import Observation, Terminal
from wsguard.protocol.reasons import CloseReason

SECRET = "the vault opens with 4711"
SHORT_LIFE = 4.0
FORBIDDEN = 403
AUDIENCE = 6
_RETRY_AFTER = re.compile(r"^(\S+) retry-after=(\d+(?:\.\d+)?)$")


@dataclass(slots=True)
class Story:
    """What the scenes share: the stage, where to tell, and one browser a user."""

    stage: Stage
    terminal: Terminal
    closing: AsyncExitStack
    browsers: dict[str, Browser] = field(default_factory=dict)

    def tell(self, text: str) -> None:
        """A line of the telling."""
        self.terminal.line(text)

    async def browser(self, name: str) -> Browser:
        """The browser of `name`, logged in through the guard the first time."""
        if name not in self.browsers:
            browser = await self.closing.enter_async_context(Browser())
            await browser.log_in(self.stage.guarded, name)
            self.browsers[name] = browser
        return self.browsers[name]

    async def ending_of(self, browser: Browser, site: URL, room: str, page: URL | None = None) -> Ending:
        """Open a socket that should be refused, and read how it ends."""
        try:
            tab = await browser.open(site, room, page=page)
        except aiohttp.WSServerHandshakeError as error:
            self.tell(f"HTTP {error.status}, which no script can read: its close event says {ABNORMAL}")
            return Ending(ABNORMAL)
        return await tab.ending()


@dataclass(frozen=True, slots=True)
class Scene:
    """A step of the story: `play` tells it and returns what was observed, in the words of `expected`."""

    title: str
    expected: str
    play: Callable[[Story], Awaitable[str]]


def reads(reason: CloseReason, *, plus: int = 0) -> str:
    """What a script reads for `reason`: code and token. `plus` is a status that is added to the code."""
    return str(Ending(reason.code + plus, reason.token))


async def hijack_unguarded(story: Story) -> str:
    stage = story.stage
    alice = await story.browser("alice")
    own = await alice.open(stage.unguarded, LOBBY)
    await own.say(SECRET)
    await own.hear(SECRET)
    story.tell(f"Alice is logged in, and says in the chat: {SECRET}")
    story.tell(f"She opens {stage.evil}, whose script opens {lobby(stage.unguarded)}")
    stolen = await alice.open(stage.unguarded, LOBBY, page=stage.evil)
    story.tell(f"The evil page reads: {await stolen.hear('Welcome')}")
    story.tell(f"The evil page reads: {await stolen.hear(SECRET)}")
    await stolen.close()
    await own.close()
    return "the chat is read"


async def hijack_guarded(story: Story) -> str:
    story.tell("The same page, the same cookie, now through the guard")
    alice = await story.browser("alice")
    return str(await story.ending_of(alice, story.stage.guarded, LOBBY, page=story.stage.evil))


async def refused_unguarded(story: Story) -> str:
    story.tell(f"Alice enters the room “{CLOSED_ROOM}”, straight at the application")
    alice = await story.browser("alice")
    return str(await story.ending_of(alice, story.stage.unguarded, CLOSED_ROOM))


async def refused_guarded(story: Story) -> str:
    story.tell("The same room through the guard")
    alice = await story.browser("alice")
    return str(await story.ending_of(alice, story.stage.guarded, CLOSED_ROOM))


async def no_cookie(story: Story) -> str:
    story.tell("A visitor without a cookie opens the chat through the guard")
    async with Browser() as nobody:
        return str(await story.ending_of(nobody, story.stage.guarded, LOBBY))


async def good_login(story: Story) -> str:
    alice, bob = await story.browser("alice"), await story.browser("bob")
    hers, his = await alice.open(story.stage.guarded, LOBBY), await bob.open(story.stage.guarded, LOBBY)
    await his.hear("Welcome, bob")
    await hers.say("hello Bob")
    story.tell(f"Bob reads: {await his.hear('hello Bob')}")
    await his.say("hello Alice")
    story.tell(f"Alice reads: {await hers.hear('hello Alice')}")
    await hers.close()
    await his.close()
    return "messages both ways"


async def expiry(story: Story) -> str:
    async with Browser() as carol:
        await carol.log_in(story.stage.guarded, "carol", lifetime=SHORT_LIFE)
        tab = await carol.open(story.stage.guarded, LOBBY)
        await tab.hear("Welcome, carol")
        story.tell(f"Carol's token lives {SHORT_LIFE:.0f} s; she is in, and waits")
        since = time.monotonic()
        ending = await tab.ending()
        story.tell(f"Cut after {time.monotonic() - since:.1f} s")
        return str(ending)


async def logout_cuts(story: Story) -> str:
    alice = await story.browser("alice")
    tab = await alice.open(story.stage.guarded, LOBBY)
    await tab.hear("Welcome, alice")
    story.tell("$ wsguard logout --subject alice")
    for line in (await story.stage.guard.command("logout", "--subject", "alice")).splitlines():
        story.tell(line)
    return str(await tab.ending())


async def logout_lasts(story: Story) -> str:
    story.tell("Alice's browser comes back with the same token")
    alice = await story.browser("alice")
    return str(await story.ending_of(alice, story.stage.guarded, LOBBY))


async def new_login(story: Story) -> str:
    await _next_second()
    alice = await story.browser("alice")
    await alice.log_in(story.stage.guarded, "alice")
    tab = await alice.open(story.stage.guarded, LOBBY)
    story.tell(f"She logs in again, and reads: {await tab.hear('Welcome, alice')}")
    await tab.close()
    return "admitted"


async def drain(story: Story) -> str:
    bob = await story.browser("bob")
    tabs = [await bob.open(story.stage.guarded, LOBBY) for _ in range(AUDIENCE)]
    for tab in tabs:
        await tab.hear("Welcome, bob")
    story.tell(f"{AUDIENCE} sockets are open; the guard gets SIGTERM")
    since = time.monotonic()

    async def timed(ending: Awaitable[Ending]) -> tuple[float, Ending]:
        read = await ending
        return time.monotonic() - since, read

    all_endings = asyncio.gather(*(timed(tab.ending()) for tab in tabs))
    status, endings = await asyncio.gather(story.stage.guard.drain(2 * PATIENCE), all_endings)
    waits = set()
    for after, ending in sorted(endings, key=lambda pair: pair[0]):
        story.tell(f"after {after:.1f} s  {ending}")
        told = _RETRY_AFTER.match(ending.reason)
        if ending.code != CloseReason.DRAINING.code or not told or told[1] != CloseReason.DRAINING.token:
            return str(ending)
        waits.add(told[2])
    spread = "spread retry-after" if len(waits) > 1 else "the same retry-after for all"
    return f"{reads(CloseReason.DRAINING)}, {spread}, exit {status}"


async def _next_second() -> None:
    """A log-out holds for every token issued in its second: `iat` counts whole seconds."""
    await asyncio.sleep(1.05 - time.time() % 1)


SCENES = (
    Scene("Hijack, straight at the application", "the chat is read", hijack_unguarded),
    Scene("Hijack, through the guard", reads(CloseReason.ORIGIN_DENIED), hijack_guarded),
    Scene("The application's own 403, straight", str(ABNORMAL), refused_unguarded),
    Scene(
        "The application's own 403, guarded",
        reads(CloseReason.BACKEND_REFUSED, plus=FORBIDDEN),
        refused_guarded,
    ),
    Scene("No cookie", reads(CloseReason.CREDENTIAL_MISSING), no_cookie),
    Scene("A good login", "messages both ways", good_login),
    Scene("The token expires", reads(CloseReason.SESSION_EXPIRED), expiry),
    Scene("Log-out cuts the open socket", reads(CloseReason.LOGGED_OUT), logout_cuts),
    Scene("The same token does not come back", reads(CloseReason.LOGGED_OUT), logout_lasts),
    Scene("A new login does", "admitted", new_login),
    Scene("Drain on SIGTERM", f"{reads(CloseReason.DRAINING)}, spread retry-after, exit 0", drain),
)


async def play(stage: Stage, terminal: Terminal) -> int:
    """Play every scene and print the table; returns how many did not come out as expected."""
    observations = []
    async with AsyncExitStack() as closing:
        story = Story(stage, terminal, closing)
        for number, scene in enumerate(SCENES, 1):
            terminal.title(f"{number:2} {scene.title}")
            observation = Observation(scene.title, scene.expected, await _observe(scene, story))
            terminal.verdict(observation)
            observations.append(observation)
    terminal.table(observations)
    return sum(not observation.holds for observation in observations)


async def _observe(scene: Scene, story: Story) -> str:
    try:
        return await scene.play(story)
    except TimeoutError:
        return f"nothing within {PATIENCE:.0f} s"
    except (aiohttp.ClientError, OSError, LookupError, GuardError) as error:
        return f"{type(error).__name__}: {error}"
