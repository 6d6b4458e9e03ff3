"""Notices that policies or the keys they name changed, however that happened, and has them reloaded.

Folders are watched, not files: an editor replaces a file, and a ConfigMap or Secret swaps the link `..data` under
all of its files at once, which watching a file does not see. An event is only a reason to look: whether anything
changed is for the stamps of the files to say. Where the file system tells nothing (a network mount, a folder that
was replaced) the stamps are compared every two seconds all the same.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from pathlib import Path

from watchfiles import awatch

from wsguard.config.files import all_policy_files, stamp
from wsguard.config.reload import Reloader

_COMPARE_EVERY = 2.0
_QUIET_FOR = 0.2
"""Seconds without an event after which a burst of them is over."""
_LONGEST_BURST = 2.0


class Watcher:
    """Watches `paths` and every key file that `reloader` has read on account of them."""

    def __init__(self, paths: Sequence[Path], reloader: Reloader) -> None:
        self._paths = paths
        self._reloader = reloader

    async def run(self) -> None:
        """Watch until cancelled; without paths there is nothing to watch."""
        while self._paths:
            folders = watched_folders(self._paths, self._reloader.stamp)
            async with aclosing(_ticks(folders)) as ticks:
                async for _ in ticks:
                    if await asyncio.to_thread(self._has_changed):
                        await self._reloader.reload()
                    if watched_folders(self._paths, self._reloader.stamp) != folders:
                        break  # the reload brought other key files, or a link leads elsewhere now

    def _has_changed(self) -> bool:
        seen = self._reloader.stamp
        return stamp((*all_policy_files(self._paths), *seen)) != seen


def watched_folders(paths: Iterable[Path], files: Iterable[str]) -> frozenset[str]:
    """The folders, as far as they exist, of `paths` and `files`: where the names stand and where links lead."""
    folders = {os.path.abspath(path) for path in paths if os.path.isdir(path)}
    for file in (*map(str, paths), *files):
        folders.add(os.path.dirname(os.path.abspath(file)))
        folders.add(os.path.dirname(os.path.realpath(file)))
    return frozenset(folder for folder in folders if os.path.isdir(folder))


async def _ticks(folders: Iterable[str]) -> AsyncGenerator[None, None]:
    """One item whenever it is time to look: at once, for what happened before the watch began, and on events."""
    yield
    try:
        async for _ in awatch(
            *folders,
            watch_filter=None,
            step=round(_QUIET_FOR * 1000),
            debounce=round(_LONGEST_BURST * 1000),
            rust_timeout=round(_COMPARE_EVERY * 1000),
            yield_on_timeout=True,
            recursive=False,
        ):
            yield
    except (OSError, RuntimeError):  # nothing watches: a folder went away, or the system's limit is reached
        await asyncio.sleep(_COMPARE_EVERY)
