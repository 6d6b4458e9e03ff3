"""The Unix socket: who can reach it, and what becomes of one that is there already."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.ops.rig import Rig
from wsguard.ops.control import control_app
from wsguard.ops.control_path import ControlSocketError, SocketInUseError, default_path, open_folder
from wsguard.ops.control_socket import bind, serve_control


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder with a short name (a Unix socket's path has at most 107 bytes), and mode 0700."""
    with tempfile.TemporaryDirectory(prefix="wsguard-") as folder:
        yield Path(folder)


async def ask(path: Path) -> int:
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
        session.get("http://localhost/v1/connections") as response,
    ):
        return response.status


async def test_it_is_served_to_its_user_alone_and_removed_at_the_end(rig: Rig, home: Path) -> None:
    path = home / "new" / "control.sock"
    control = await serve_control(control_app(rig.control), path)
    assert await ask(path) == 200
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    await control.close()
    assert not path.exists()


async def test_a_guard_that_answers_is_not_driven_out(rig: Rig, home: Path) -> None:
    path = home / "control.sock"
    first = await serve_control(control_app(rig.control), path)
    with pytest.raises(SocketInUseError, match="already answers"):
        await serve_control(control_app(rig.control), path)
    assert await ask(path) == 200
    await first.close()


async def test_a_socket_that_a_dead_guard_left_is_replaced(rig: Rig, home: Path) -> None:
    path = home / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    control = await serve_control(control_app(rig.control), path)
    assert await ask(path) == 200
    await control.close()


async def test_the_socket_of_a_successor_is_left_alone(rig: Rig, home: Path) -> None:
    path = home / "control.sock"
    first = await serve_control(control_app(rig.control), path)
    path.rename(home / "moved.sock")  # so that the inode is not given out again
    second = await serve_control(control_app(rig.control), path)
    await first.close()
    assert await ask(path) == 200
    await second.close()


def test_a_guard_too_busy_to_accept_is_alive(home: Path) -> None:
    path = home / "control.sock"
    busy, waiting = bind(path), []
    busy.listen(0)
    try:
        for _ in range(3):
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            waiting.append(client)
            try:
                client.connect(str(path))
            except BlockingIOError:
                break
        with pytest.raises(SocketInUseError):
            bind(path)
    finally:
        for one in (busy, *waiting):
            one.close()


def test_what_is_no_socket_is_not_touched(home: Path) -> None:
    path = home / "control.sock"
    path.write_text("precious")
    with pytest.raises(ControlSocketError, match="no socket"):
        bind(path)
    assert path.read_text() == "precious"


def test_no_symlink_is_followed(home: Path) -> None:
    (home / "real").mkdir(mode=0o700)
    (home / "link").symlink_to(home / "real")
    with pytest.raises(ControlSocketError, match="not a folder to trust"):
        bind(home / "link" / "control.sock")
    (home / "real" / "control.sock").symlink_to(home / "elsewhere.sock")
    with pytest.raises(ControlSocketError, match="no socket"):
        bind(home / "real" / "control.sock")
    (home / "dangling").symlink_to(home / "nowhere")
    with pytest.raises(ControlSocketError):
        bind(home / "dangling" / "control.sock")


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o755, 0o710])
def test_a_folder_that_others_can_enter_is_refused(home: Path, mode: int) -> None:
    folder = home / "open"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(ControlSocketError, match="0700"):
        bind(folder / "control.sock")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(home: Path) -> None:
    folder = home / "theirs"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    with pytest.raises(ControlSocketError, match="another user"):
        bind(folder / "control.sock")


def test_a_folder_is_made_but_not_the_way_to_it(home: Path) -> None:
    with pytest.raises(ControlSocketError, match="cannot be made"):
        bind(home / "no" / "such" / "control.sock")
    (home / "file").write_text("")
    with pytest.raises(ControlSocketError):
        bind(home / "file" / "control.sock")


def test_a_path_that_is_too_long_is_a_sentence(home: Path) -> None:
    with pytest.raises(ControlSocketError, match="too long"):
        bind(home / ("x" * 120))


def test_the_default_is_in_the_users_runtime_folder(home: Path) -> None:
    assert default_path({"XDG_RUNTIME_DIR": str(home)}) == home / "wsguard" / "control.sock"
    for elsewhere in ({}, {"XDG_RUNTIME_DIR": ""}, {"XDG_RUNTIME_DIR": "relative"}, {"XDG_RUNTIME_DIR": "/no/such"}):
        path = default_path(elsewhere)
        assert path.parent == Path(tempfile.gettempdir(), f"wsguard-{os.geteuid()}")


def test_a_missing_folder_is_told_from_a_bad_one(home: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_folder(home / "missing")
