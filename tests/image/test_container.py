"""The image, built from the Dockerfile and started: as uid 65532, on a read-only root."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.image.building import BASE, USER, Builder, inside
from tests.support.backend import RecordingBackend
from tests.support.ports import free_port
from tests.support.programs import Program
from tests.support.waiting import eventually

pytestmark = [pytest.mark.extended, pytest.mark.timeout(900)]

MOST = 80_000_000
"""Bytes that the image may add to its base."""


@pytest.fixture(scope="module")
def builder() -> Iterator[Builder]:
    if os.geteuid() != 0:
        pytest.skip("only root can make a base and mount an image")
    with tempfile.TemporaryDirectory(prefix="wsguard-image-") as folder:  # pytest's own would keep 600 MB
        builder = Builder(Path(folder))
        builder.base()
        builder.build()
        yield builder


@pytest.fixture(scope="module")
def root(builder: Builder) -> Iterator[Path]:
    with builder.root() as root:
        yield root


@pytest.fixture(scope="module")
def config(builder: Builder) -> dict[str, Any]:
    return builder.config()


class Contained:
    """A guard that runs in the image, in front of `backend`."""

    def __init__(self, root: Path, config: dict[str, Any], backend: RecordingBackend) -> None:
        self.port, self.admin = free_port(), free_port()
        ports = ["--listen", f"127.0.0.1:{self.port}", "--admin", f"127.0.0.1:{self.admin}"]
        self.program = Program(*inside(root, config, *config["Cmd"], "--backend", backend.url, *ports))

    async def probe(self, path: str) -> int:
        """The status of a probe; 0 while nobody answers."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.admin}{path}") as answer,
            ):
                return answer.status
        except aiohttp.ClientError:
            return 0


async def test_it_is_healthy_on_a_read_only_root_and_not_root(
    root: Path, config: dict[str, Any], backend: RecordingBackend
) -> None:
    guard = Contained(root, config, backend)
    async with guard.program:

        async def ready() -> bool:
            return await guard.probe("/readyz") == 200

        await eventually(ready, 30.0, "the guard in the image is ready")
        assert [await guard.probe(path) for path in ("/startupz", "/livez", "/metrics")] == [200, 200, 200]
        assert users(guard.program.pid) == {str(USER)}
        async with aiohttp.ClientSession() as session, session.ws_connect(f"http://127.0.0.1:{guard.port}/ws"):
            listed = Program(*inside(root, config, "connections"))
            async with listed:
                assert await listed.wait() == 0
            assert len(listed.lines) == 2, "a head and one connection"
        async with Program(*inside(root, config, "drain", "--window", "0s", "--wait")) as hook:
            assert await hook.wait() == 0
        assert await guard.probe("/readyz") == 503
    assert await guard.program.wait() == 0
    assert not guard.program.errors


def test_nothing_in_it_can_be_written_by_its_user(root: Path) -> None:
    writable = [
        path
        for path in (root / "opt").rglob("*")
        if not path.is_symlink() and (path.stat().st_mode & 0o002 or path.stat().st_uid == USER)
    ]
    assert not writable
    with pytest.raises(OSError, match="Read-only"):
        (root / "opt" / "x").touch()


def test_it_brings_neither_pip_nor_tests_nor_extras(root: Path) -> None:
    (site,) = root.glob("opt/wsguard/lib/python3*/site-packages")
    assert not {"pip", "hatchling", "tests", "redis", "nats", "cel_expr_python"} & {
        path.name for path in site.iterdir()
    }
    assert {path.name for path in (root / "opt/wsguard/bin").iterdir()} & {"pip", "pip3"} == set()


def test_its_code_is_compiled_since_nothing_can_be_written_later(root: Path) -> None:
    (package,) = root.glob("opt/wsguard/lib/python3*/site-packages/wsguard")
    sources = list(package.rglob("*.py"))
    assert len(list(package.rglob("__pycache__/*.pyc"))) == len(sources) > 100


def test_it_adds_less_than_80_mb_to_its_base(builder: Builder, root: Path, record_property: Any) -> None:
    with builder.root(BASE) as base:
        added = size(root) - size(base)
    record_property("bytes_over_base", added)
    print(f"the image adds {added / 1e6:.1f} MB to its base")
    assert 10_000_000 < added < MOST


def users(pid: int) -> set[str]:
    """Real, effective, saved and file system user of a process."""
    (line,) = [each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("Uid:")]
    return set(line.split()[1:])


def size(folder: Path) -> int:
    """Bytes of all files below, each inode once."""
    found = [entry.lstat() for entry in folder.rglob("*") if not entry.is_symlink() and entry.is_file()]
    return sum({(each.st_dev, each.st_ino): each.st_size for each in found}.values())


async def test_a_policy_that_cannot_be_used_is_said_and_ends_it(root: Path, config: dict[str, Any]) -> None:
    program = Program(*inside(root, config, "run", "--policy", "/nowhere", "--backend", "http://127.0.0.1:1"))
    async with program:
        assert await asyncio.wait_for(program.wait(), 30) == 2
    assert "there is no such file or folder" in "".join(program.errors)


async def test_the_extras_can_be_built_in(builder: Builder, config: dict[str, Any]) -> None:
    image = "localhost/wsguard-extras"
    builder.build(image, "--build-arg=LOCK=requirements-extras.lock")
    python = {**config, "Entrypoint": ["/opt/wsguard/bin/python3", "-c"]}
    with builder.root(image) as root:
        async with Program(*inside(root, python, "import redis.asyncio, nats, cel_expr_python")) as program:
            assert await program.wait() == 0, program.errors
