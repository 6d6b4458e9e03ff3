"""A new snapshot in place of the old one, or the old one goes on: never a mixture, never nothing.

The swap is one assignment. What needs a restart (a port, the backend) refuses the reload as a whole, so that what
runs is always what some version of the files says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from wsguard.config.store import ConfigError, Snapshot
from wsguard.policy.model import GuardSpec
from wsguard.policy.model_base import Model
from wsguard.policy.problems import Problem


class Outcome(Enum):
    """What became of a reload."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """The snapshot that holds now, and where it was refused, why: a sentence a line."""

    outcome: Outcome
    snapshot: Snapshot
    problems: tuple[Problem, ...] = ()
    error: str | None = None


class Reloader:
    """Holds the snapshot in force as `current`, and why and when the last attempt to replace it failed.

    `read` reads the files anew and raises ConfigError; it is called in a thread. `on_reload` is called, on the
    loop, with each result that is news: one applied, or one refused for another reason than the last. `stamp`
    is of the files that the last attempt looked at.
    """

    def __init__(
        self,
        current: Snapshot,
        read: Callable[[], Snapshot],
        on_reload: Callable[[ReloadResult], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.current = current
        self.last_error: str | None = None
        self.last_error_at: float | None = None
        self.stamp = current.stamp
        self._read = read
        self._on_reload = on_reload
        self._now = now
        self._one_at_a_time = asyncio.Lock()

    async def reload(self) -> ReloadResult:
        """Read the files and put them in force, or refuse them. Failing to read is a refusal, never raised."""
        async with self._one_at_a_time:
            try:
                fresh = await asyncio.to_thread(self._read)
            except ConfigError as error:
                self.stamp = error.stamp
                return self._refuse(str(error), error.problems)
            except Exception as error:  # a fault of the reader: what holds goes on holding
                return self._refuse(f"the files could not be read: {type(error).__name__}")
            self.stamp = fresh.stamp
            return self._apply(fresh)

    def _apply(self, fresh: Snapshot) -> ReloadResult:
        if changes := list(changes_that_need_a_restart(self.current.policy_set.guard, fresh.policy_set.guard)):
            return self._refuse("\n".join(changes))
        is_news = fresh.revision != self.current.revision or self.last_error is not None
        self.current = fresh
        self.last_error = self.last_error_at = None
        result = ReloadResult(Outcome.APPLIED if is_news else Outcome.UNCHANGED, fresh)
        if is_news:
            self._on_reload(result)
        return result

    def _refuse(self, error: str, problems: tuple[Problem, ...] = ()) -> ReloadResult:
        result = ReloadResult(Outcome.REFUSED, self.current, problems, error)
        is_news = error != self.last_error
        self.last_error, self.last_error_at = error, self._now()
        if is_news:
            self._on_reload(result)
        return result


def changes_that_need_a_restart(old: GuardSpec, new: GuardSpec) -> Iterator[str]:
    """A sentence for each setting that differs and that is read only at the start."""
    if old.listener.tls is not None and new.listener.tls is not None:
        # What it speaks comes with each snapshot, for new connections: only whether it is TLS at all stays.
        new = new.model_copy(update={"listener": new.listener.model_copy(update={"tls": old.listener.tls})})
    for part in ("listener", "admin"):
        yield from _differences(part, getattr(old, part), getattr(new, part))
    yield from _differences("sessionEvents", old.session_events, new.session_events)
    if old.tracing != new.tracing:
        yield "spec.tracing changed, which needs a restart"
    if old.logging.audit_file != new.logging.audit_file:
        yield "spec.logging.auditFile changed, which needs a restart"
    if len(old.backends) != len(new.backends):
        yield f"spec.backends: {len(old.backends)} before and {len(new.backends)} now, which needs a restart"
    known = {backend.name: backend for backend in old.backends}
    if known.keys() != {backend.name for backend in new.backends}:
        known = {}  # else their order may change, which counts only at the start
    for i, (positioned, after) in enumerate(zip(old.backends, new.backends, strict=False)):
        before = known.get(after.name, positioned)
        yield from _differences(f"backends[{i}]", before, after)


def _differences(path: str, old: Model, new: Model) -> Iterator[str]:
    for name, field in type(old).model_fields.items():
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            change = "changed" if _is_large(after) else f"changed from {_text(before)} to {_text(after)}"
            yield f"spec.{path}.{field.alias} {change}, which needs a restart"


def _is_large(value: object) -> bool:
    """Whether a value is more than fits into a sentence."""
    return isinstance(value, Model) or (isinstance(value, tuple) and any(isinstance(item, Model) for item in value))


def _text(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return f"{value:g}s" if isinstance(value, float) else str(value)
