"""What must be there before a guard can start, and what it opens first; what is missing is said in a sentence."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from wsguard.events.assemble import MissingExtra, require_extras
from wsguard.ops.audit_file import AuditFile
from wsguard.ops.log import Log
from wsguard.ops.log_writer import LineWriter
from wsguard.policy.model import GuardSpec
from wsguard.policy.model_guard import Logging, Tracing
from wsguard.process import why

if TYPE_CHECKING:
    from wsguard.ops.tracing import OtlpTracer

_STDOUT = 1


class StartError(Exception):
    """The guard cannot start: a sentence for the operator."""


def require(guard: GuardSpec) -> None:
    """A backend, and the libraries of what is configured. Raises StartError."""
    if not guard.backends:
        raise StartError("no backend: give --backend http://127.0.0.1:3000, or `backends` in a GuardConfig")
    try:
        require_extras(guard.session_events)
    except MissingExtra as error:
        raise StartError(str(error)) from None


def new_log(spec: Logging) -> Log:
    """On standard output, and in the file for audits. Raises StartError."""
    audit_file = None
    if spec.audit_file is not None:
        try:
            audit_file = AuditFile(spec.audit_file)
        except OSError as error:
            raise StartError(f"cannot write {spec.audit_file} (logging.auditFile): {why(error)}") from error
    return Log(LineWriter(_STDOUT), spec.level.value, spec.format.value, audit_file)


def new_tracer(spec: Tracing | None) -> OtlpTracer | None:
    """None where nothing is traced. Raises StartError."""
    if spec is None:
        return None
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None:
        raise StartError("tracing needs an extra: pip install 'wsguard[otel]'")
    from wsguard.ops.tracing import OtlpTracer  # noqa: PLC0415 - who traces nothing need not have it

    return OtlpTracer(spec)
