"""The control API on a Unix socket that only the guard's own user can reach."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aiohttp import web

from wsguard.ops.control_path import ControlSocketError, SocketInUseError, open_folder
from wsguard.ops.serving import runner

_ANSWER = 1.0  # seconds that a guard already there may take to accept


class ControlSocket:
    """A control socket that is being served."""

    def __init__(self, path: Path, served: web.AppRunner, inode: int) -> None:
        self.path = path
        self._served = served
        self._inode = inode

    async def close(self) -> None:
        """Stop serving, and remove the socket unless another guard has put its own there."""
        with suppress(FileNotFoundError):
            if os.lstat(self.path).st_ino == self._inode:
                self.path.unlink()
        await self._served.cleanup()


async def serve_control(app: web.Application, path: Path) -> ControlSocket:
    """Serve `app` at `path` (0600, in a folder 0700). Raises ControlSocketError, SocketInUseError among them."""
    listener = bind(path)
    inode = os.lstat(path).st_ino
    served = runner(app)
    await served.setup()
    await web.SockSite(served, listener).start()
    return ControlSocket(path, served, inode)


def bind(path: Path) -> socket.socket:
    """A listening socket at `path`, in place of one that nobody listens on any more."""
    with _locked(path.parent):
        _clear(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(path))
            path.chmod(0o600)
            listener.listen()  # under the lock: a socket without a listener looks abandoned
        except OSError as error:
            listener.close()
            raise ControlSocketError(f"{path}: {error.strerror or error}") from None
        listener.setblocking(False)
        return listener


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Make the folder where it is missing, and let no other guard look at it at the same time."""
    try:
        folder.mkdir(0o700, exist_ok=True)
    except OSError as error:
        raise ControlSocketError(f"{folder} cannot be made: {error.strerror}") from None
    descriptor = open_folder(folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _clear(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ControlSocketError(f"{path} is there already, and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_ANSWER)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError:
            pass  # its queue is full, or it is not ours to open: somebody has it
    raise SocketInUseError(f"a guard already answers at {path}")
