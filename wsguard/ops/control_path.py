"""Where the control socket is, and whether its folder keeps others out. For the guard and for its commands."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "WSGUARD_CONTROL"
"""The environment variable that stands for `--control`."""

OFF = "none"
"""As the path: no control socket."""

_NAME = "control.sock"


class ControlSocketError(Exception):
    """The control socket cannot be had, or not be trusted: a sentence for the operator."""


class SocketInUseError(ControlSocketError):
    """A guard already answers there."""


def default_path(env: Mapping[str, str]) -> Path:
    """`$XDG_RUNTIME_DIR/wsguard/control.sock`, else the same in a folder per user in the temporary directory."""
    runtime = env.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and os.path.isdir(runtime):
        return Path(runtime, "wsguard", _NAME)
    import tempfile  # noqa: PLC0415 - slow to import, and most often not needed by a command

    return Path(tempfile.gettempdir(), f"wsguard-{os.geteuid()}", _NAME)


def open_folder(folder: Path) -> int:
    """A descriptor of `folder`, which is this user's alone. Raises ControlSocketError where it is not.

    Whoever can write into the folder could put a socket of theirs in the guard's place; the temporary directory is
    everybody's, so the name of the folder proves nothing.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ControlSocketError(f"{folder} is not a folder to trust: {error.strerror}") from None
    status = os.fstat(descriptor)
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid == os.geteuid() and not mode & 0o077:
        return descriptor
    os.close(descriptor)
    if status.st_uid != os.geteuid():
        raise ControlSocketError(f"{folder} belongs to another user: the control socket needs a folder of its own")
    raise ControlSocketError(f"{folder} is open to others (mode {mode:04o}): the control socket's folder needs 0700")
