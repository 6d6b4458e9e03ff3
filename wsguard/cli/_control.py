"""Asks a running guard over its control socket, with nothing but the standard library: a hook execs it and waits."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from wsguard.cli import UsageError
from wsguard.ops.control_path import OFF, ControlSocketError, default_path, open_folder

_TIMEOUT = 10.0


class NoGuardError(UsageError):
    """Nobody listens on the control socket, or who did has left without an answer."""


class Guard:
    """A running guard. Every call raises UsageError, with a sentence, where it is not there or says no."""

    def __init__(self, control: str | None) -> None:
        if control == OFF:
            raise UsageError(f"--control {OFF} leaves nothing to talk to")
        self._path = Path(control) if control else _own(default_path(os.environ))

    def get(self, path: str, query: Mapping[str, str | None] | None = None) -> dict[str, Any]:
        """The JSON object at `path`; parameters that are None are left out."""
        given = {name: value for name, value in (query or {}).items() if value is not None}
        return self._ask("GET", f"{path}?{urlencode(given)}" if given else path)

    def post(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        """What the guard answers to `body`; members that are None are left out."""
        return self._ask("POST", path, {name: value for name, value in body.items() if value is not None})

    def delete(self, path: str) -> dict[str, Any]:
        """What the guard answers to a DELETE."""
        return self._ask("DELETE", path)

    def _ask(self, method: str, target: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        connection = _UnixConnection(self._path)
        try:
            connection.request(method, target, None if body is None else json.dumps(body))
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (FileNotFoundError, ConnectionRefusedError):
            raise NoGuardError(f"no guard answers at {self._path}: is one running there?") from None
        except (ConnectionResetError, BrokenPipeError):
            raise NoGuardError(f"the guard at {self._path} ended before it answered") from None
        except (OSError, HTTPException, ValueError) as error:
            why = getattr(error, "strerror", None) or "it did not answer in time, or with something else"
            raise UsageError(f"no answer from the guard at {self._path}: {why}") from None
        finally:
            connection.close()
        if not isinstance(answer, dict) or response.status >= 400:
            detail = answer.get("detail") if isinstance(answer, dict) else None
            raise UsageError(str(detail or f"the guard answered with status {response.status}"))
        return answer


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _own(path: Path) -> Path:
    """The default path, unless somebody else made its folder: a sid is not told to just anybody."""
    try:
        os.close(open_folder(path.parent))
    except FileNotFoundError:
        raise NoGuardError(f"no guard answers at {path}: is one running there?") from None
    except ControlSocketError as error:
        raise UsageError(str(error)) from None
    return path
