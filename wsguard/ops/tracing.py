"""A trace of each handshake by OpenTelemetry, exported over OTLP; its context goes on to the backend.

The SDK's own batches leave in a thread of theirs and are dropped where the collector stalls: nothing here waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, StatusCode, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from wsguard import __version__
from wsguard.protocol.http import Headers
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.records import Decided

if TYPE_CHECKING:
    from wsguard.policy.model_guard import Tracing

_FIELDS = ("traceparent", "tracestate")
_CONTEXT = TraceContextTextMapPropagator()
_SERVICE = "wsguard"

# What is amiss with the guard or what it depends on, not with who asked.
_ERRORS = frozenset(
    (
        CloseReason.GUARD_FAULT,
        CloseReason.IDENTITY_UNAVAILABLE,
        CloseReason.BACKEND_UNREACHABLE,
        CloseReason.BACKEND_INVALID,
        CloseReason.BACKEND_TIMEOUT,
    )
)


class HandshakeTrace:
    """The span of one handshake."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self.id = format_trace_id(span.get_span_context().trace_id)

    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """What the backend is told: this span is the parent of its own."""
        carrier: dict[str, str] = {}

        _CONTEXT.inject(carrier, set_span_in_context(self._span))
        return tuple((name.encode("ascii"), value.encode("latin-1", "replace")) for name, value in carrier.items())

    def end(self, record: Decided) -> None:
        """The handshake has its outcome."""
        span, reason = self._span, record.reason
        span.set_attribute("wsguard.connection_id", record.connection_id)
        span.set_attribute("wsguard.result", record.result)
        if record.policy is not None:
            span.set_attribute("wsguard.policy", record.policy)
        if reason is not None:
            span.set_attribute("wsguard.close_reason", reason.token)
            span.set_attribute("wsguard.close_code", record.code)
        if reason in _ERRORS:
            span.set_status(StatusCode.ERROR, reason.token if reason else None)
        span.end()


class OtlpTracer:
    """Begins traces, and exports them to the collector of `spec`."""

    def __init__(self, spec: Tracing) -> None:
        resource = Resource.create({SERVICE_NAME: _SERVICE, SERVICE_VERSION: __version__})
        self._provider = TracerProvider(resource=resource, sampler=ParentBased(TraceIdRatioBased(spec.sampling)))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=spec.endpoint)))
        self._tracer = self._provider.get_tracer(_SERVICE, __version__)

    def begin(self, headers: Headers, path: str, host: str, *, is_trusted: bool) -> HandshakeTrace:
        """The trace of a handshake; part of the one that `headers` name, where a trusted proxy in front wrote them."""
        carrier = {name: b",".join(headers.all(name.encode("ascii"))).decode("latin-1") for name in _FIELDS}
        context = _CONTEXT.extract({name: value for name, value in carrier.items() if value}) if is_trusted else None
        attributes = {
            "http.request.method": "GET",
            "network.protocol.name": "websocket",
            "server.address": host,
            "url.path": path,
        }
        return HandshakeTrace(
            self._tracer.start_span("websocket handshake", context, SpanKind.SERVER, attributes=attributes)
        )

    def close(self) -> None:
        """Export what is left, for at most some seconds. Blocks: to be called in a thread."""
        self._provider.shutdown()
