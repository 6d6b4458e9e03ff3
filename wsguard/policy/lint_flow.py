"""What is wrong about the limits on what flows, and what is legal but cuts the honest."""

from __future__ import annotations

from collections.abc import Iterator

from wsguard.policy.model import Framing, IntrospectionProvider, JwtProvider, MessageType, OnExceed, WebSocketPolicy
from wsguard.policy.problems import Finding, Severity

_LONG_WAIT = 10.0  # seconds that a client is not read, for one more of what it may send
_SHORT_PAUSE = 1.0  # seconds; a phone that changes networks reads nothing for longer
LEAST_BUFFER, MOST_BUFFER = 64 << 10, 384 << 10
"""Bytes that the guard keeps for a side before it stops reading the other, and that it keeps at most."""


def check_flow(policy: WebSocketPolicy) -> Iterator[Finding]:
    """Limits that say nothing, and such as are reached without anything being wrong."""
    yield from _check_rates(policy)
    yield from _check_slow_consumer(policy)
    limits = policy.spec.limits
    if len(limits.message_types) == len(MessageType):
        yield Finding(("spec", "limits", "messageTypes"), "without effect: every type is allowed")
    for path, message in _first_messages(policy):
        if limits.max_message_size is not None and limits.max_message_size < message:
            yield Finding(path, "cut when it is passed on: limits.maxMessageSize is smaller", Severity.ERROR)


def _first_messages(policy: WebSocketPolicy) -> Iterator[tuple[tuple[str | int, ...], int]]:
    """The size of every `firstMessage` that the backend is to see."""
    spec = policy.spec
    for name, part in (("jwt", spec.jwt), ("introspection", spec.introspection)):
        providers: tuple[JwtProvider | IntrospectionProvider, ...] = part.providers if part is not None else ()
        for i, provider in enumerate(providers):
            message = provider.extract_from.first_message
            if message is not None and message.forward:
                yield ("spec", name, "providers", i, "extractFrom", "firstMessage", "maxSize"), message.max_size


def _check_rates(policy: WebSocketPolicy) -> Iterator[Finding]:
    limits = policy.spec.limits
    for name, part in (("messages", limits.messages), ("bandwidth", limits.bandwidth)):
        if part is None:
            continue
        path = ("spec", "limits", name)
        rate = part.per_connection
        if rate.at_once == 1 and part.on_exceed is OnExceed.CLOSE:
            message = "burst is 1: a client whose frames arrive two at a time is cut, however seldom it sends"
            yield Finding((*path, "perConnection"), message)
        if part.on_exceed is OnExceed.THROTTLE and rate.per_second * _LONG_WAIT < 1:
            message = f"a client may be held back for {1 / rate.per_second:.0f} s, its Close and its pongs with it"
            yield Finding((*path, "perConnection"), message)
    size, bandwidth = limits.max_message_size, limits.bandwidth
    if size is None or bandwidth is None or bandwidth.on_exceed is not OnExceed.CLOSE:
        return
    if bandwidth.per_connection.at_once < size:
        message = "smaller than maxMessageSize: a message of that size is cut for its bandwidth"
        yield Finding(("spec", "limits", "bandwidth", "perConnection"), message)


def _check_slow_consumer(policy: WebSocketPolicy) -> Iterator[Finding]:
    slow, path = policy.spec.limits.slow_consumer, ("spec", "limits", "slowConsumer")
    if slow is None:
        return
    if slow.max_pause is None and slow.buffer_limit is None:
        yield Finding(path, "expected maxPause, bufferLimit or both", Severity.ERROR)
    if slow.max_pause is not None and slow.max_pause < _SHORT_PAUSE:
        yield Finding((*path, "maxPause"), "very short: clients on lines that falter are cut")
    if slow.buffer_limit is not None and slow.buffer_limit < LEAST_BUFFER:
        message = f"expected at least {LEAST_BUFFER >> 10}Ki: below, nobody is waited for"
        yield Finding((*path, "bufferLimit"), message, Severity.ERROR)
    if slow.buffer_limit is not None and slow.buffer_limit >= MOST_BUFFER:
        message = f"never reached: the guard keeps less than {MOST_BUFFER >> 10}Ki for a side that does not read"
        yield Finding((*path, "bufferLimit"), message)


def check_framing(policy: WebSocketPolicy) -> Iterator[Finding]:
    """Frames that a backend's parser may stumble over."""
    if policy.spec.framing is Framing.TRANSPARENT:
        yield Finding(("spec", "framing"), "Transparent: frames that break RFC 6455 reach the backend, and the client")
