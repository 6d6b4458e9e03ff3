"""What keeps a guard from starting, as sentences that say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsguard import startup
from wsguard.events import assemble
from wsguard.policy.model import Backend, GuardSpec
from wsguard.policy.model_events import SessionEvents
from wsguard.policy.model_guard import Logging, Tracing
from wsguard.startup import StartError, new_log, new_tracer, require

BACKEND = Backend(url="http://127.0.0.1:3000")
STREAM = SessionEvents.model_validate({"sources": [{"type": "RedisStream", "url": "redis://127.0.0.1:6379"}]})


@pytest.fixture
def without_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them is installed."""
    for module in (startup, assemble):
        monkeypatch.setattr(module, "find_spec", lambda _: None)


def test_a_backend_is_required() -> None:
    require(GuardSpec(backends=(BACKEND,)))
    with pytest.raises(StartError, match="no backend: give --backend"):
        require(GuardSpec())


@pytest.mark.usefixtures("without_extras")
def test_the_library_of_a_stream_is_required() -> None:
    require(GuardSpec(backends=(BACKEND,)))
    with pytest.raises(StartError, match=r"wsguard\[redis\]"):
        require(GuardSpec(backends=(BACKEND,), session_events=STREAM))


def test_an_audit_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "none" / "audit.log"
    with pytest.raises(StartError, match=r"cannot write .*/none/audit.log \(logging.auditFile\): No such file"):
        new_log(Logging(audit_file=str(missing)))


@pytest.mark.usefixtures("without_extras")
def test_tracing_needs_its_extra_only_where_it_is_on() -> None:
    assert new_tracer(None) is None
    with pytest.raises(StartError, match=r"wsguard\[otel\]"):
        new_tracer(Tracing.model_validate({"endpoint": "http://127.0.0.1:4318"}))
