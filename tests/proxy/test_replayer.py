"""Whom the replayer hears, for how long, and what it has to say again."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from tests.proxy.fakes import Bench
from tests.support import wire
from wsguard.protocol.replay import FirstMessages, Recorder, Subscriptions
from wsguard.proxy.half import Half
from wsguard.proxy.replayer import Replayer

SUBSCRIBE = wire.frame(wire.TEXT, b'{"type": "subscribe"}')
OTHER = wire.frame(wire.TEXT, b'{"type": "say"}')


def heard(recorder: Recorder | None, *messages: bytes) -> tuple[Replayer, Bench]:
    """A replayer that has listened while a client said `messages`."""
    bench, replayer = Bench(), Replayer(recorder)
    replayer.listen(backend_of(bench))
    for message in messages:
        bench.client.arrive(message)
    return replayer, bench


def backend_of(bench: Bench) -> Half:
    half = bench.splice._pair.backend
    assert half is not None
    return half


def first(count: int) -> Recorder:
    return Recorder(FirstMessages(count, "type", ("subscribe",)))


def test_where_nothing_is_repeated_nothing_stands_before_the_backend() -> None:
    replayer, bench = heard(None, SUBSCRIBE)
    assert cast("object", backend_of(bench).transport) is bench.backend
    assert (replayer.messages, replayer.greeting, replayer.problem) == ((), b"", None)
    replayer.begin_anew()


def test_it_hears_what_the_backend_hears() -> None:
    replayer, bench = heard(first(9), SUBSCRIBE, OTHER, SUBSCRIBE)
    assert bench.to_backend == SUBSCRIBE + OTHER + SUBSCRIBE
    assert list(replayer.messages) == [SUBSCRIBE, SUBSCRIBE]
    assert cast("object", backend_of(bench).transport) is not bench.backend


def test_it_stands_aside_once_nothing_more_can_matter() -> None:
    replayer, bench = heard(first(1), SUBSCRIBE, SUBSCRIBE)
    assert list(replayer.messages) == [SUBSCRIBE]
    assert cast("object", backend_of(bench).transport) is bench.backend
    replayer.listen(backend_of(bench))
    assert cast("object", backend_of(bench).transport) is bench.backend, "nor does it come back"


def test_a_message_that_was_under_way_is_not_said_again() -> None:
    replayer, bench = heard(first(9), SUBSCRIBE[:5])
    replayer.begin_anew()
    bench.client.arrive(SUBSCRIBE[5:])
    assert list(replayer.messages) == []


@pytest.mark.parametrize("recorder", [None, Recorder(Subscriptions(4))])
async def test_without_a_greeting_nothing_is_said_or_awaited(recorder: Recorder | None) -> None:
    replayer, bench = heard(recorder)
    transport = cast("asyncio.Transport", bench.backend)
    assert await replayer.greet(asyncio.get_running_loop(), transport, b"early", 0.0) == (b"", b"early")
    assert not bench.to_backend
