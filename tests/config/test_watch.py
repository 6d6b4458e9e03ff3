from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.config.texts import policy, with_secret
from tests.config.volumes import Volume
from tests.support.waiting import eventually
from wsguard.config import watch
from wsguard.config.reload import Reloader, ReloadResult
from wsguard.config.store import read
from wsguard.config.watch import Watcher, watched_folders


@asynccontextmanager
async def watching(*paths: Path) -> AsyncIterator[Reloader]:
    """A reloader of `paths`, with a watcher at work."""
    told: list[ReloadResult] = []
    reload = partial(read, paths)
    reloader = Reloader(reload(), reload, told.append)
    work = asyncio.create_task(Watcher(paths, reloader).run())
    try:
        yield reloader
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work


def names(reloader: Reloader) -> Sequence[str]:
    return [each.name for each in reloader.current.policy_set.policies]


def is_in_force(reloader: Reloader, name: str) -> bool:
    return names(reloader) == [name]


@pytest.fixture(params=["watching", "comparing"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """By events where the file system has them, by stamps where it has none."""
    if request.param == "comparing":

        def without_events(*folders: str, **options: object) -> None:
            raise OSError("no watches left")

        monkeypatch.setattr(watch, "awatch", without_events)
        monkeypatch.setattr(watch, "_COMPARE_EVERY", 0.05)


@pytest.mark.usefixtures("way")
class TestNotices:
    async def test_a_file_that_is_written(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text(policy("old"))
        async with watching(tmp_path) as reloader:
            (tmp_path / "a.yaml").write_text(policy("new"))
            await eventually(lambda: names(reloader) == ["new"])

    async def test_a_file_that_is_replaced(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text(policy("old"))
        async with watching(tmp_path / "a.yaml") as reloader:
            (tmp_path / "fresh").write_text(policy("new"))
            (tmp_path / "fresh").rename(tmp_path / "a.yaml")
            await eventually(lambda: names(reloader) == ["new"])

    async def test_files_that_come_and_go(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text(policy("a"))
        async with watching(tmp_path) as reloader:
            (tmp_path / "b.yaml").write_text(policy("b", "{match: {hostnames: [b.example]}}"))
            await eventually(lambda: names(reloader) == ["a", "b"])
            (tmp_path / "a.yaml").unlink()
            await eventually(lambda: names(reloader) == ["b"])

    async def test_the_swap_of_a_config_map_again_and_again(self, tmp_path: Path) -> None:
        volume = Volume(tmp_path / "p", {"a.yaml": policy("v1")})
        async with watching(volume.path) as reloader:
            for version in ("v2", "v3", "v4"):
                volume.swap({"a.yaml": policy(version)})
                await eventually(partial(is_in_force, reloader, version))

    async def test_the_swap_of_a_secret_elsewhere(self, tmp_path: Path) -> None:
        secrets = Volume(tmp_path / "secrets", {"a.key": "k" * 32})
        file = secrets.path / "a.key"
        (tmp_path / "p").mkdir()
        (tmp_path / "p" / "a.yaml").write_text(with_secret(str(file)))
        async with watching(tmp_path / "p") as reloader:
            secrets.swap({"a.key": "n" * 32})
            await eventually(lambda: reloader.current.key_files[str(file)] == b"n" * 32)

    async def test_a_key_that_a_broken_policy_waits_for(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text(policy("old"))
        (tmp_path / "keys").mkdir()
        async with watching(tmp_path) as reloader:
            (tmp_path / "a.yaml").write_text(with_secret("keys/a.key", "new"))
            await eventually(lambda: reloader.last_error)
            assert names(reloader) == ["old"]
            (tmp_path / "keys" / "a.key").write_text("k" * 32)
            await eventually(lambda: names(reloader) == ["new"])
            assert reloader.last_error is None

    async def test_a_break_and_its_repair(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text(policy("old"))
        async with watching(tmp_path) as reloader:
            (tmp_path / "a.yaml").write_text("spec: [")
            await eventually(lambda: reloader.last_error)
            assert names(reloader) == ["old"]
            (tmp_path / "a.yaml").write_text(policy("old"))
            await eventually(lambda: reloader.last_error is None)

    async def test_a_link_that_nobody_may_follow_and_its_removal(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text(policy("old"))
        async with watching(tmp_path) as reloader:
            (tmp_path / "b.yaml").symlink_to("x" * 300)
            await eventually(lambda: reloader.last_error)
            (tmp_path / "b.yaml").unlink()
            (tmp_path / "a.yaml").write_text(policy("new"))
            await eventually(lambda: names(reloader) == ["new"])


async def test_a_folder_that_is_replaced_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_COMPARE_EVERY", 0.2)
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "a.yaml").write_text(policy("old"))
    async with watching(folder) as reloader:
        folder.rename(tmp_path / "away")
        await eventually(lambda: reloader.last_error)
        folder.mkdir()
        (folder / "a.yaml").write_text(policy("new"))
        await eventually(lambda: names(reloader) == ["new"])


async def test_without_paths_there_is_nothing_to_watch() -> None:
    reloader = Reloader(read([]), lambda: read([]), lambda result: None)
    await Watcher([], reloader).run()


def test_watches_where_names_stand_and_where_links_lead(tmp_path: Path) -> None:
    volume = Volume(tmp_path / "v", {"a.key": "k"})
    key = volume.path / "a.key"
    (tmp_path / "p").mkdir()
    found = watched_folders([tmp_path / "p", tmp_path / "gone" / "x"], [str(key)])
    assert found == {str(tmp_path), str(tmp_path / "p"), str(volume.path), str(key.resolve().parent)}
