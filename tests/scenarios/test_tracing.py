"""Handshakes as a collector of traces sees them, and what the backend is told of the trace and the connection."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.scenarios.servers import serve_aiohttp
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.client import connect
from tests.support.guard import JWT, Guard, policy
from tests.support.waiting import eventually

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
CONFIG = """
apiVersion: wsguard.dev/v1
kind: GuardConfig
spec:
  tracing: {endpoint: "%s/v1/traces"}
  clientIPDetection: {xForwardedFor: {trustedCIDRs: [%s]}}
  shutdown: {drainWindow: 0s}
"""
OPEN = "origin: {missing: Allow}\n"


@asynccontextmanager
async def collector() -> AsyncIterator[tuple[str, list[Span]]]:
    """An OTLP collector: its address, and the spans that it was sent."""
    spans: list[Span] = []

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        body = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        sent = ExportTraceServiceRequest.FromString(body)
        spans.extend(span for of in sent.resource_spans for scope in of.scope_spans for span in scope.spans)
        return web.Response()

    async with serve_aiohttp(web.post("/v1/traces", take)) as url:
        yield url, spans


def attributes(span: Span) -> dict[str, str | int]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


async def test_a_trace_goes_through_the_guard_to_the_backend() -> None:
    async with (
        collector() as (url, spans),
        RecordingBackend() as backend,
        Guard(backend, {"policy.yaml": policy(OPEN), "guard.yaml": CONFIG % (url, "127.0.0.0/8")}) as guard,
        connect(guard.port) as client,
    ):
        fields = [("traceparent", PARENT), ("tracestate", "vendor=1"), ("X-Request-ID", "r-1")]
        await client.open(wire.upgrade(fields=[*fields, ("X-Wsguard-Connection-ID", "spoofed")]))
        line = await guard.log({"event": "handshake"})
        head = backend.upgrades[0]
        assert head.get("x-wsguard-connection-id") == line["connection_id"]
        assert (line["trace_id"], line["request_id"]) == (TRACE, "r-1")
        assert await guard.terminate() == 0  # what is left is exported at the end
        (span,) = spans
        seen = attributes(span)
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, "b7ad6b7169203331")
        assert head.get("traceparent") == f"00-{TRACE}-{span.span_id.hex()}-01"
        assert head.get("tracestate") == "vendor=1"
        assert span.kind == Span.SPAN_KIND_SERVER
        assert seen["wsguard.connection_id"] == line["connection_id"]
        assert (seen["wsguard.policy"], seen["wsguard.result"], seen["url.path"]) == ("chat", "admitted", "/ws")


async def test_a_stranger_chooses_no_trace() -> None:
    """Nor whether it is kept: what it says of one is replaced."""
    async with (
        collector() as (url, spans),
        RecordingBackend() as backend,
        Guard(backend, {"policy.yaml": policy(OPEN), "guard.yaml": CONFIG % (url, "192.0.2.0/24")}) as guard,
        connect(guard.port) as client,
    ):
        await client.open(wire.upgrade(fields=[("traceparent", PARENT), ("tracestate", "vendor=1")]))
        line = await guard.log({"event": "handshake"})
        assert await guard.terminate() == 0
        (span,) = spans
        assert span.trace_id.hex() == line["trace_id"] != TRACE
        assert str(backend.upgrades[0].get("traceparent")).split("-")[1] == line["trace_id"]
        assert backend.upgrades[0].get("tracestate") is None


async def test_a_refusal_is_a_span_and_the_guards_own_trouble_an_error() -> None:
    async with collector() as (url, spans):
        config = CONFIG % (url, "127.0.0.0/8")
        async with Guard("http://127.0.0.1:9", {"policy.yaml": policy(JWT), "guard.yaml": config}) as guard:
            async with connect(guard.port) as stranger:
                await stranger.open(wire.upgrade())
                await stranger.close_frame()
            async with connect(guard.port) as ann:
                cookie = ("Cookie", f"session={guard.issuer.token()}")
                await ann.open(wire.upgrade(origin="http://localhost", fields=[cookie]))
                await ann.close_frame()
            assert await guard.terminate() == 0
        refused, unreachable = spans
        assert attributes(refused)["wsguard.close_reason"] == "credential-missing"
        assert refused.status.code == Status.STATUS_CODE_UNSET
        assert attributes(unreachable)["wsguard.close_reason"] == "backend-unreachable"
        assert unreachable.status.code == Status.STATUS_CODE_ERROR


async def test_a_collector_that_is_away_holds_nobody_up(backend: RecordingBackend) -> None:
    config = CONFIG % ("http://127.0.0.1:9", "127.0.0.0/8")
    async with Guard(backend, {"policy.yaml": policy(OPEN), "guard.yaml": config}) as guard:
        for _ in range(3):
            async with connect(guard.port) as client:
                assert (await client.open(wire.upgrade())).status == 101
        assert await guard.terminate() == 0


async def test_without_tracing_the_trace_of_others_passes_and_is_named(backend: RecordingBackend) -> None:
    async with Guard(backend, policy(OPEN)) as guard, connect(guard.port) as client:
        await client.open(wire.upgrade(fields=[("traceparent", PARENT)]))
        assert (await guard.log({"event": "handshake"}))["trace_id"] == TRACE
        assert backend.upgrades[0].get("traceparent") == PARENT
        await eventually(lambda: len(backend.upgrades) == 1)
