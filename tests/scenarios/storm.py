"""A storm of log-outs over replicas that die and come back, and a model that knows who should be alive.

The law: once everything is back, no socket lives whose session ended, and none was cut whose session did not. A
log-out counts from the moment it is told. Who told a guard that answered "not stored yet" and then died tells again.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress

import aiohttp
from nats.errors import Error as NatsError
from redis.exceptions import RedisError

from tests.contracts.engines import Engine
from tests.scenarios.replicas import verdict
from tests.scenarios.storm_links import Link
from tests.scenarios.storm_pages import Client, Session
from tests.scenarios.storm_plan import Ending, Plan, Trouble
from tests.support.guard import Guard
from tests.support.waiting import eventually

SETTLES = 30.0
"""Seconds after which all must be as the model has it; the claim is five."""

AGES = (100, 50)
"""How many seconds before the storm the sessions of a user began."""

ENGINE = ("engine", 0)


class Storm:
    """One storm over `guards`, each with its `links` to the engine. Times are monotonic seconds."""

    def __init__(self, plan: Plan, name: str, engine: Engine, guards: Sequence[Guard], links: Sequence[Link]) -> None:
        self.healthy: list[float] = []  # seconds from telling to the Close, where nothing was broken meanwhile
        self.after_outage: list[float] = []  # seconds from when all was back, or from telling where that was later
        self._plan = plan
        self._engine = engine
        self._guards = guards
        self._links = links
        began = int(time.time())
        self.sessions = [
            [Session(f"{name}-{n}", f"{name}-{n}-{i}", f"t-{name}-{n}-{i}", began - age) for i, age in enumerate(AGES)]
            for n in range(len(plan.places))
        ]
        self.clients = [
            Client(session, guards, place)
            for user, places in zip(self.sessions, plan.places, strict=True)
            for session, place in zip(user, places, strict=True)
        ]
        self._back_at = [0.0] * len(guards)
        self._broken = 0
        self._last_fault = 0.0
        self._busy: defaultdict[tuple[str, int], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._lives = [0] * len(guards)  # how often each guard was started again
        self._promised: list[list[tuple[list[Session], dict[str, object]]]] = [[] for _ in guards]

    async def run(self) -> None:
        """Let it happen, mend everything, and see that the world is as the model has it."""
        async with asyncio.TaskGroup() as pages:
            running = [pages.create_task(client.run(self._measure)) for client in self.clients]
            await eventually(lambda: all(client.is_open for client in self.clients), SETTLES, "all sockets are open")
            async with asyncio.TaskGroup() as events:
                for ending in self._plan.endings:
                    events.create_task(_at(ending.at, lambda ending=ending: self._end(ending)))  # type: ignore[misc]
                for trouble in self._plan.troubles:
                    events.create_task(_at(trouble.at, lambda trouble=trouble: self._break(trouble)))  # type: ignore[misc]
            await self._settle()
            for task in running:
                task.cancel()
        await asyncio.gather(*(client.leave() for client in self.clients))

    async def _end(self, ending: Ending) -> None:
        """Tell of the end of one session or more; the model knows at once."""
        user = self.sessions[ending.user]
        one = user[ending.session]
        match ending.manner:
            case "sid":
                await self._tell([one], {"sid": one.sid}, ending.guard)
            case "jti":
                await self._tell([one], {"jti": one.jti}, ending.guard)
            case "subject":
                await self._tell(user, {"subject": one.subject}, ending.guard)
            case "older":
                since = user[-1].issued_at
                await self._tell(user[:-1], {"subject": one.subject, "issuedBefore": since}, ending.guard)

    async def _tell(self, ended: list[Session], body: dict[str, object], guard: int | None) -> None:
        """Until somebody has heard of it: the stream, or a guard."""
        while True:
            for session in ended:
                session.told_at, session.told_to = time.monotonic(), guard
            if guard is None:
                async with self._busy[ENGINE]:
                    with suppress(RedisError, NatsError, OSError, TimeoutError):
                        return await self._engine.add(json.dumps(body).encode())
            else:
                with suppress(aiohttp.ClientError, OSError, TimeoutError):
                    life = self._lives[guard]
                    status, answer = await self._guards[guard].ask("POST", "/v1/logout", body)
                    assert status in (200, 202), answer
                    if status == 202 and life == self._lives[guard]:
                        self._promised[guard].append((ended, body))
                        return None
                    if status == 200:
                        return None
                guard = (guard + 1) % len(self._guards)
            await asyncio.sleep(0.2)

    async def _break(self, trouble: Trouble) -> None:
        """Break one thing that is whole, and mend it some seconds later."""
        number = trouble.guard
        what = trouble.fault if trouble.fault in ("engine", "guard") else "link"
        lock = self._busy[ENGINE if trouble.fault == "engine" else (what, number)]
        if lock.locked():
            return
        async with lock:
            self._broken += 1
            self._last_fault = time.monotonic()
            match trouble.fault:
                case "engine":
                    await self._engine.kill()
                    await asyncio.sleep(trouble.lasts)
                    await self._engine.start()
                case "guard":
                    await self._restart(number, trouble.lasts)
                case fault:
                    await self._links[number].fail(fault)
                    await asyncio.sleep(trouble.lasts)
                    await self._links[number].mend()
            for guard in range(len(self._guards)) if trouble.fault == "engine" else (number,):
                self._back_at[guard] = time.monotonic()
            self._broken -= 1
            self._last_fault = time.monotonic()

    async def _restart(self, number: int, after: float) -> None:
        guard = self._guards[number]
        guard.program.process.kill()
        await guard.program.wait()
        self._lives[number] += 1
        lost, self._promised[number] = self._promised[number], []
        await asyncio.sleep(after)
        await guard.start()
        for ended, body in lost:
            await self._tell(ended, body, (number + 1) % len(self._guards))

    def _measure(self, client: Client) -> None:
        session, now = client.session, time.monotonic()
        if session.told_at is None:
            return  # wrongly cut, which is found at the end
        back_at = max(self._back_at[client.place], self._back_at[session.told_to] if session.told_to is not None else 0)
        if self._last_fault < session.told_at - SETTLES / 3 and not self._broken:
            self.healthy.append(now - session.told_at)
        else:
            self.after_outage.append(now - max(session.told_at, back_at))

    async def _settle(self) -> None:
        """Everything is back."""
        await eventually(lambda: not self.survivors(), SETTLES, "nobody lives on whose session ended")
        assert not self.wrongly_cut(), "wrongly cut"
        alive = {client.session.jti for client in self.clients if client.session.told_at is None}
        await eventually(lambda: alive == self._open(), SETTLES, "who may live is connected")
        assert not any(client.surprises for client in self.clients)
        await eventually(self._is_as_the_guards_have_it, SETTLES, "the guards hold the same connections")
        sessions = [session for user in self.sessions for session in user]
        await asyncio.gather(*(self._is_judged_right(guard, one) for guard in self._guards for one in sessions))

    def survivors(self) -> list[str]:
        """Sockets whose session ended."""
        return [client.session.jti for client in self.clients if client.session.told_at and client.ended_at is None]

    def wrongly_cut(self) -> list[str]:
        """Sockets that were logged out without reason."""
        return [client.session.jti for client in self.clients if client.ended_at and not client.session.told_at]

    def _open(self) -> set[str]:
        return {client.session.jti for client in self.clients if client.is_open}

    async def _is_as_the_guards_have_it(self) -> bool:
        held: Counter[str] = Counter()
        for guard in self._guards:
            _, answer = await guard.ask("GET", "/v1/connections?limit=1000")
            held.update(str(connection["subject"]) for connection in answer["connections"])
        return held == Counter(client.session.subject for client in self.clients if client.session.told_at is None)

    async def _is_judged_right(self, guard: Guard, session: Session) -> None:
        """A guard that holds no socket of a session may be the last to read of its end."""
        if session.told_at is None:
            assert await verdict(guard, session.token) == "open", session.jti
            return

        async def is_kept_out() -> bool:
            return await verdict(guard, session.token) == "logged-out"

        await eventually(is_kept_out, SETTLES, f"{session.jti} is kept out")


async def _at(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    await asyncio.sleep(seconds)
    await work()


def worst(values: Iterable[float]) -> str:
    """The largest of some times."""
    found = list(values)
    return f"{max(found):.2f} s of {len(found)}" if found else "none"
