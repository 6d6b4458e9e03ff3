"""What the ends of sessions cost: from a log-out to the Close on the wire, and a handshake by its credential.

python -m benchmarks sessions --connections 9000 --handshakes 2000 --rounds 5
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

from aiohttp import web

from benchmarks.native import compile_tools, echo_backend
from benchmarks.pages import Page, come_and_go, leave_all, open_pages
from benchmarks.processes import cpu_seconds, split_cores
from benchmarks.report import machine
from benchmarks.sessions_report import Sessions, Spread
from tests.contracts.engines import Redis
from tests.support.guard import Guard, policy
from tests.support.tokens import Issuer

ALONE, ACROSS = "one guard", "the other of two guards, over Redis"
ONE, ALL = "one", "all"
SOME = 20  # log-outs of one victim each, in a round
CLOSED_WITHIN = 60.0  # seconds
_SETTLE = 0.2  # seconds; what a guard does after the last byte belongs to the figure


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential that handshakes bring: the policy that asks for it, and a new one each time it is called."""

    name: str
    policy: str
    new: Callable[[], str]
    issuer: Issuer | None = None


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line of `python -m benchmarks sessions`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks sessions", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--connections", type=int, default=9000, help="open while sessions end")
    parser.add_argument("--handshakes", type=int, default=2000, help="for each figure of a credential")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write everything into this folder")
    return parser.parse_args(arguments)


async def measure(connections: int, handshakes: int, rounds: int) -> Sessions:
    """Every figure. Raises BenchmarkError and PageError."""
    facts, began = machine(), time.monotonic()
    closes: dict[str, dict[str, list[Spread]]] = {}
    costs: dict[str, dict[str, list[float]]] = {}
    os.sched_setaffinity(0, split_cores()[1])
    with tempfile.TemporaryDirectory(prefix="wsguard-bench-") as folder, running_backend(Path(folder)) as backend:
        for number in range(rounds):
            for where in (ALONE, ACROSS):
                _say(f"round {number + 1} of {rounds}: log-outs, {where}")
                for victims, spread in (await logouts(backend, where, connections)).items():
                    closes.setdefault(where, {}).setdefault(victims, []).append(spread)
            async with identity_service() as service:
                for credential in credentials(service):
                    _say(f"round {number + 1} of {rounds}: handshakes, {credential.name}")
                    for state, cost in (await handshake_costs(backend, credential, handshakes)).items():
                        costs.setdefault(credential.name, {}).setdefault(state, []).append(cost)
    return Sessions(closes, costs, connections, handshakes, rounds, facts, time.monotonic() - began)


def _say(what: str) -> None:
    print(what, file=sys.stderr)


@contextmanager
def running_backend(folder: Path) -> Iterator[str]:
    """The echo backend; yields its address. Raises BenchmarkError."""
    with echo_backend(compile_tools(folder)) as port:
        yield f"http://127.0.0.1:{port}"


async def logouts(backend: str, where: str, connections: int) -> dict[str, Spread]:
    """Seconds from the call to each Close: for single victims, and for everyone at once."""
    issuer = Issuer.of("HS256")
    cookies = [issuer.token("crowd", sid=f"s{number}") for number in range(connections)]
    async with AsyncExitStack() as stack:
        events: dict[str, object] = {}
        if where == ACROSS:
            redis = await stack.enter_async_context(Redis())
            events = {"sources": [redis.spec()], "onGap": "Continue"}
        holder = teller = await stack.enter_async_context(_guard(backend, _jwt("HS256"), events))
        if where == ACROSS:
            teller = await stack.enter_async_context(_guard(backend, _jwt("HS256"), events))
        pages = await open_pages(holder.port, cookies)
        single: list[float] = []
        for number in range(0, connections, -(-connections // SOME)):
            single += await _log_out(teller, {"sid": f"s{number}"}, [pages[number]])
        crowd = [page for page in pages if page.closed_at is None]
        everyone = await _log_out(teller, {"subject": "crowd"}, crowd)
        await leave_all(pages)
    return {ONE: Spread.of(single), ALL: Spread.of(everyone)}


async def _log_out(guard: Guard, body: dict[str, object], victims: Sequence[Page]) -> list[float]:
    called = time.monotonic()
    status, answer = await guard.ask("POST", "/v1/logout", body)
    assert status == 200, answer
    async with asyncio.timeout(CLOSED_WITHIN):
        await asyncio.gather(*(page.ended for page in victims))
    return [page.closed_at - called for page in victims if page.closed_at is not None]


async def handshake_costs(backend: str, credential: Credential, count: int) -> dict[str, float]:
    """CPU seconds of the guard for a handshake and its end: with a credential it knows, and with a new one each."""
    known = credential.new()
    new = [credential.new() for _ in range(count)]
    async with _guard(backend, credential.policy, {}, credential.issuer) as guard:
        await come_and_go(guard.port, [known] * 50)  # what is loaded at first use is no cost of a handshake
        return {
            "cached": await _cost(guard, list(repeat(known, count))),
            "fresh": await _cost(guard, new),
        }


async def _cost(guard: Guard, cookies: Sequence[str]) -> float:
    before = cpu_seconds(guard.program.pid)
    await come_and_go(guard.port, cookies)
    await asyncio.sleep(_SETTLE)
    return (cpu_seconds(guard.program.pid) - before) / len(cookies)


@asynccontextmanager
async def _guard(
    backend: str, spec: str, events: dict[str, object], issuer: Issuer | None = None
) -> AsyncIterator[Guard]:
    guard_config = {"logging": {"level": "warning"}, "sessionEvents": events}
    document = f"apiVersion: wsguard.dev/v1\nkind: GuardConfig\nspec: {json.dumps(guard_config)}\n"
    guard = Guard(backend, {"policy.yaml": policy(spec), "guard.yaml": document})
    (guard.folder / "client.secret").write_text("benchmark")
    if issuer is not None and issuer.algorithm != "HS256":  # whose secret is there already
        (guard.folder / "jwks.json").write_text(issuer.jwks())
    async with guard:
        os.sched_setaffinity(guard.program.pid, split_cores()[0])
        yield guard


def _jwt(algorithm: str) -> str:
    keys = "localSecretFile: {folder}/hmac.key" if algorithm == "HS256" else "localJWKS: {file: jwks.json}"
    return f"""
    jwt:
      providers:
      - name: benchmark
        issuer: https://idp.example.test
        audiences: [chat]
        algorithms: [{algorithm}]
        {keys}
        extractFrom: {{cookies: [session]}}
    """


def credentials(service: str) -> list[Credential]:
    """Nothing first: what the others are compared with."""
    introspection = f"""
    introspection:
      providers:
      - name: benchmark
        endpoint: {service}/introspect
        clientID: benchmark
        clientSecretFile: client.secret
        extractFrom: {{cookies: [session]}}
    """
    forward_auth = f"""
    forwardAuth:
      url: {service}/me
      headersToExtAuth: [cookie]
      subjectFrom: {{jsonPath: id}}
      cacheDuration: 60s
    """
    tokens = [Issuer.of(algorithm) for algorithm in ("HS256", "RS256", "ES256")]
    return [
        Credential("none", "{}", _opaque),
        *(
            Credential(f"JWT cookie, {issuer.algorithm}", _jwt(issuer.algorithm), _minted(issuer), issuer)
            for issuer in tokens
        ),
        Credential("opaque cookie, introspection", introspection, _opaque),
        Credential("opaque cookie, forwardAuth", forward_auth, _opaque),
    ]


def _opaque() -> str:
    return secrets.token_hex(16)


def _minted(issuer: Issuer) -> Callable[[], str]:
    return lambda: issuer.token("ann", jti=secrets.token_hex(8))


@asynccontextmanager
async def identity_service() -> AsyncIterator[str]:
    """Says yes to everyone; yields its address."""

    async def introspect(request: web.Request) -> web.Response:
        return web.json_response({"active": True, "sub": "ann", "exp": int(time.time()) + 3600})

    async def me(request: web.Request) -> web.Response:
        return web.json_response({"id": "ann"})

    app = web.Application()
    app.add_routes([web.post("/introspect", introspect), web.get("/me", me)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
