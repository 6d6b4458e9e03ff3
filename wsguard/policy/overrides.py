"""What flags of the command line say in place of the GuardConfig."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from wsguard.policy.fields import HostPort
from wsguard.policy.model_guard import Backend, GuardSpec, parse_backend_url
from wsguard.policy.socket_path import SocketPath, parse_listen_address

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Overrides:
    """Flags beat the GuardConfig; None leaves it as it is. `backend` replaces the list of backends."""

    listen: HostPort | SocketPath | None = None
    admin: HostPort | None = None
    backend: str | None = None

    @classmethod
    def parse(cls, listen: str | None = None, admin: str | None = None, backend: str | None = None) -> Overrides:
        """The flags as they were written; an empty one says nothing. Raises ValueError with a sentence."""
        return cls(
            listen=_read("listen", listen, parse_listen_address),
            admin=_read("admin", admin, HostPort.parse),
            backend=_read("backend", backend, parse_backend_url),
        )

    def apply(self, guard: GuardSpec) -> GuardSpec:
        """`guard` as the flags have it."""
        changes: dict[str, Any] = {}
        if self.listen is not None:
            changes["listener"] = guard.listener.model_copy(update={"address": self.listen})
        if self.admin is not None:
            changes["admin"] = guard.admin.model_copy(update={"address": self.admin})
        if self.backend is not None:
            changes["backends"] = (Backend(url=self.backend),)
        return guard.model_copy(update=changes)


def _read(flag: str, text: str | None, parse: Callable[[str], _Value]) -> _Value | None:
    if not text:
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"--{flag}: {error}") from None
