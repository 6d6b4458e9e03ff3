"""What flags of the command line say in place of the GuardConfig."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wsguard.policy.fields import HostPort
from wsguard.policy.model_guard import Backend, GuardSpec, parse_backend_url


@dataclass(frozen=True, slots=True)
class Overrides:
    """Flags beat the GuardConfig; None leaves it as it is. `backend` replaces the list of backends."""

    listen: HostPort | None = None
    admin: HostPort | None = None
    backend: str | None = None

    @classmethod
    def parse(cls, listen: str | None = None, admin: str | None = None, backend: str | None = None) -> Overrides:
        """The flags as they were written. Raises ValueError with a sentence."""
        return cls(
            listen=None if listen is None else HostPort.parse(listen),
            admin=None if admin is None else HostPort.parse(admin),
            backend=None if backend is None else parse_backend_url(backend),
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
