"""Links on which packets vanish: a network namespace behind pairs of virtual Ethernet, each of which can be unplugged.

Nobody hears of an end there: no FIN, no RST, no ICMP, as when a switch, a firewall or a host dies.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import AsyncExitStack
from types import TracebackType

from tests.support.peace import changing
from tests.support.provision import PATH


class NetworkError(Exception):
    """The kernel, or whoever runs this, does not allow it; the message is what `ip` said."""


class Network:
    """A namespace with `links` links to it. What runs behind `enter` is reached at `address(link)`, by that link only.

    Addresses are of 198.18.0.0/15, which is kept for measuring networks (RFC 2544). Only root can make one.
    """

    def __init__(self, links: int) -> None:
        self._name = f"wsguard-{os.getpid()}"
        self._links = links
        self._alone = AsyncExitStack()

    @property
    def enter(self) -> tuple[str, ...]:
        """What stands before a command that runs in the namespace, in place of it."""
        return (_ip(), "netns", "exec", self._name)

    def address(self, link: int) -> str:
        """Where the namespace is, by this link."""
        return self._addresses(link)[1]

    def here(self, link: int) -> str:
        """Where this side is, for those in the namespace, by this link."""
        return self._addresses(link)[0]

    async def silence(self, link: int) -> None:
        """Unplug the cable: from now on every packet is lost, both ways."""
        await self._inside("link", "set", self._device(link, "b"), "down")

    async def restore(self, link: int) -> None:
        """Plug it in again."""
        await self._inside("link", "set", self._device(link, "b"), "up")

    async def __aenter__(self) -> Network:
        await self._alone.enter_async_context(changing())
        try:
            await _run("netns", "add", self._name)
            await self._inside("link", "set", "lo", "up")
            for link in range(self._links):
                await self._lay(link)
        except BaseException:
            await self.remove()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.remove()

    async def remove(self) -> None:
        """Take it all away."""
        async with self._alone:
            await self._take_away()

    async def _take_away(self) -> None:
        for link in range(self._links):  # the namespace would take them along, but some time later
            await _run("link", "del", self._device(link, "a"), may_fail=True)
        await _run("netns", "del", self._name, may_fail=True)

    async def _lay(self, link: int) -> None:
        here, there = self._device(link, "a"), self._device(link, "b")
        address, behind = self._addresses(link)
        await _run("link", "add", here, "type", "veth", "peer", "name", there, "netns", self._name)
        await _run("address", "add", f"{address}/30", "dev", here)
        await self._inside("address", "add", f"{behind}/30", "dev", there)
        await self._inside("link", "set", there, "up")
        await _run("link", "set", here, "up")
        # Known for ever, or the kernel would say after a while that nobody answers for the address.
        hardware = (await self._inside("-brief", "link", "show", there)).split()[2]
        await _run("neighbour", "replace", behind, "lladdr", hardware, "dev", here, "nud", "permanent")

    def _addresses(self, link: int) -> tuple[str, str]:
        pid = os.getpid()
        net = f"198.{18 + (pid >> 8 & 1)}.{pid & 255}"
        return f"{net}.{4 * link + 1}", f"{net}.{4 * link + 2}"

    def _device(self, link: int, end: str) -> str:
        return f"wsg{os.getpid()}{end}{link}"  # at most 15 characters

    async def _inside(self, *words: str) -> str:
        return await _run("-netns", self._name, *words)


async def why_not() -> str | None:
    """Why no Network can be made here; None where it can. To find out disturbs no browser: both ends are elsewhere."""
    if shutil.which("ip", path=PATH) is None:
        return "there is no program ip"
    name = f"wsguard-{os.getpid()}-probe"
    try:
        await _run("netns", "add", name)
        await _run("-netns", name, "link", "add", "one", "type", "veth", "peer", "name", "other")
    except NetworkError as error:
        return str(error)
    finally:
        await _run("netns", "del", name, may_fail=True)
    return None


def _ip() -> str:
    return shutil.which("ip", path=PATH) or "ip"


async def _run(*words: str, may_fail: bool = False) -> str:
    process = await asyncio.create_subprocess_exec(
        _ip(), *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said = (await process.communicate())[0].decode().strip()
    if process.returncode and not may_fail:
        raise NetworkError(f"ip {' '.join(words)}: {said}")
    return said
