"""A session that ends at one replica ends at all, whatever dies meanwhile: real engines, guards as processes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from tests.contracts.engines import Engine, Nats, Redis
from tests.scenarios.replicas import Socket, replica, token_of, verdict
from tests.support.backend import RecordingBackend
from tests.support.relay import FaultyRelay
from tests.support.waiting import eventually

LOGGED_OUT = (4441, "logged-out")


@pytest.fixture(params=[Redis, Nats], ids=["redis", "nats"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    async with request.param() as running:
        yield running


async def test_a_logout_told_to_one_closes_sockets_on_all(engine: Engine, backend: RecordingBackend) -> None:
    async with replica(backend, engine) as first, replica(backend, engine) as second:
        sockets = [await Socket(guard, token_of("alice", sid="s1")).open() for guard in (first, second)]
        bob = await Socket(second, token_of("bob")).open()
        asked = time.monotonic()
        assert await first.ask("POST", "/v1/logout", {"subject": "alice"}) == (200, {"closed": 1})
        assert [await socket.end() for socket in sockets] == [LOGGED_OUT, LOGGED_OUT]
        assert time.monotonic() - asked < 3.0
        assert await verdict(second, sockets[0].token) == "logged-out"
        assert bob.is_open
        assert await second.metric("wsguard_session_events_total", source=engine.source, result="applied") == 1
        assert await second.metric("wsguard_session_event_source_up", source=engine.source) == 1
        assert await second.metric("wsguard_session_event_lag_seconds_count") == 1


async def test_a_script_ends_a_session_and_poison_ends_nothing(engine: Engine, backend: RecordingBackend) -> None:
    async with replica(backend, engine) as guard:
        alice = await Socket(guard, token_of("alice", sid="s1")).open()
        for poison in (b"", b"logout alice", b'{"subject":"alice","when":"now"}'):
            await engine.add(poison)
        await engine.add(b'{"sid":"s1"}')
        assert await alice.end() == LOGGED_OUT
        assert await guard.metric("wsguard_session_events_total", result="skipped") == 3


async def test_a_guard_that_starts_again_has_forgotten_nothing(engine: Engine, backend: RecordingBackend) -> None:
    token = token_of("alice", sid="s1")
    async with replica(backend, engine) as guard:
        assert await guard.ask("POST", "/v1/logout", {"sid": "s1"}) == (200, {"closed": 0})
    async with replica(backend, engine) as again:
        assert await verdict(again, token) == "logged-out"
        assert await verdict(again, token_of("bob")) == "open"


async def test_while_the_engine_is_away_a_logout_holds_here_and_then_everywhere(
    engine: Engine, backend: RecordingBackend
) -> None:
    async with replica(backend, engine) as first, replica(backend, engine) as second:
        sockets = [await Socket(guard, token_of("alice")).open() for guard in (first, second)]
        await engine.kill()
        await first.log({"event": "session_event_source", "up": False})
        assert await first.ask("POST", "/v1/logout", {"subject": "alice"}) == (202, {"closed": 1, "stored": False})
        assert await sockets[0].end() == LOGGED_OUT
        await engine.start()
        back = time.monotonic()
        assert await sockets[1].end() == LOGGED_OUT
        assert time.monotonic() - back < 5.0


async def test_while_the_engine_is_away_a_guard_may_refuse_new_handshakes(
    engine: Engine, backend: RecordingBackend
) -> None:
    async with replica(backend, engine, onOutage="RefuseNew") as guard:
        alice = await Socket(guard, token_of("alice")).open()
        await engine.kill()
        await guard.log({"event": "session_event_source", "up": False})
        assert await verdict(guard, token_of("bob")) == "identity-unavailable"
        assert alice.is_open
        await engine.start()
        await eventually(guard._ready, 10, "ready again")
        assert await verdict(guard, token_of("bob")) == "open"


async def test_a_silent_link_counts_as_an_outage_and_is_left_when_it_speaks_again(
    engine: Engine, backend: RecordingBackend
) -> None:
    """No FIN and no RST ever comes: the guard finds out by itself, and what it was told meanwhile is not lost."""
    async with (
        FaultyRelay(engine.port) as relay,
        replica(backend, engine, relay.port, onOutage="RefuseNew") as first,
        replica(backend, engine) as second,
    ):
        alice, bob = [await Socket(guard, token_of("alice")).open() for guard in (first, second)]
        carol = await Socket(first, token_of("carol", sid="s1")).open()
        relay.swallow()
        silent = time.monotonic()
        await first.log({"event": "session_event_source", "up": False}, 40)
        print(f"noticed after {time.monotonic() - silent:.1f} s")
        assert await verdict(first, token_of("dave")) == "identity-unavailable"
        assert await first.ask("POST", "/v1/logout", {"subject": "alice"}) == (202, {"closed": 1, "stored": False})
        assert await alice.end() == LOGGED_OUT
        assert await second.ask("POST", "/v1/logout", {"sid": "s1"}) == (200, {"closed": 0})
        assert bob.is_open
        assert carol.is_open
        relay.release()
        back = time.monotonic()
        assert [await socket.end(50) for socket in (bob, carol)] == [LOGGED_OUT, LOGGED_OUT]
        print(f"caught up after {time.monotonic() - back:.1f} s")
        await eventually(first._ready, 10, "ready again")
        assert await verdict(first, token_of("dave")) == "open"


async def test_what_the_engine_lost_closes_all_or_is_only_said(engine: Engine, backend: RecordingBackend) -> None:
    async with replica(backend, engine) as closing, replica(backend, engine, onGap="Continue") as going_on:
        alice, bob = [await Socket(guard, token_of("alice")).open() for guard in (closing, going_on)]
        await engine.add(b'{"sid":"s1"}')
        for guard in (closing, going_on):
            await eventually(lambda guard=guard: guard.metric("wsguard_session_events_total", result="applied"))  # type: ignore[misc]
        await engine.drop()
        assert await alice.end() == LOGGED_OUT
        assert await verdict(closing, alice.token) == "logged-out"
        assert await verdict(closing, token_of("alice", iat=int(time.time()) + 2)) == "open", "who logs in anew may"
        await closing.log({"event": "session_event_gap", "on_gap": "CloseAll", "closed": 1})
        await going_on.log({"event": "session_event_gap", "on_gap": "Continue"})
        assert await going_on.metric("wsguard_session_events_total", result="gap") == 1
        assert bob.is_open
        assert await going_on.ask("POST", "/v1/logout", {"subject": "alice"}) == (200, {"closed": 1})
        assert await bob.end() == LOGGED_OUT, "the stream goes on"


async def test_a_deny_list_that_is_full_forgets_nobody_and_admits_nobody(backend: RecordingBackend) -> None:
    """Also after a restart, when the stream is read back."""
    async with Redis() as engine, replica(backend, engine, denyList={"maxEntries": 2}) as guard:
        eve = await Socket(guard, token_of("eve")).open()
        for subject in ("alice", "bob"):
            assert await guard.ask("POST", "/v1/logout", {"subject": subject}) == (200, {"closed": 0})
        assert await verdict(guard, token_of("frank")) == "open"
        assert await guard.ask("POST", "/v1/logout", {"subject": "carol"}) == (200, {"closed": 0})
        await guard.log({"event": "deny_list_overflowed", "entries": 2})
        guard.program.process.kill()
        await guard.program.wait()
        assert (await eve.end())[1] == ""
        await guard.start()
        assert await guard.metric("wsguard_deny_list_overflowed") == 1
        for subject in ("carol", "dave"):
            assert await verdict(guard, token_of(subject)) in ("identity-unavailable", "logged-out")
        assert await verdict(guard, token_of("dave")) == "identity-unavailable"
