"""More than the guard can take: what is open goes on, what is new is turned away cheaply, and it recovers."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import Conversation, RecordingBackend
from tests.support.certificates import Authority
from tests.support.client import RawClient, connect
from tests.support.guard import Guard, policy
from tests.support.waiting import eventually
from tests.support.wire import Head
from wsguard.proxy.entrance import TLS_SHUTDOWN


def limited(spec: str) -> dict[str, str]:
    guard = f"apiVersion: wsguard.dev/v1\nkind: GuardConfig\nspec: {{{spec}}}\n"
    return {"guard.yaml": guard, "policy.yaml": policy()}


@pytest.fixture(autouse=True)
def echoing(backend: RecordingBackend) -> None:
    backend.answer = answers.accept(echo=True)


async def talks(client: RawClient) -> None:
    await client.send(wire.frame(wire.TEXT, b"still here"))
    assert (await client.frame()).payload == b"still here"


@asynccontextmanager
async def opened(guard: Guard, count: int) -> AsyncIterator[list[RawClient]]:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(guard.port)) for _ in range(count)]
        for client in clients:
            await client.open(wire.upgrade())
        yield clients


async def is_turned_away(guard: Guard) -> bool:
    with suppress(ConnectionError):
        async with connect(guard.port) as client:
            await client.send(wire.upgrade())
            return not await client.rest()
    return True


async def test_a_full_house(backend: RecordingBackend) -> None:
    """The newcomer is reset before it is read; those inside go on; one line says when it began, one when it ended."""
    async with Guard(backend, limited("overload: {maxConnections: 5}")) as guard:
        async with opened(guard, 5) as clients:
            for _ in range(4):
                assert await is_turned_away(guard)
            await guard.log({"event": "overloaded", "cause": "connections"})
            assert await guard.metric("wsguard_overloaded", cause="connections") == 1
            for client in clients:
                await talks(client)
        assert (await guard.log({"event": "overload_ended", "cause": "connections"}))["refused"] >= 1
        assert await guard.metric("wsguard_overload_refusals_total", cause="connections") == 4
        async with opened(guard, 5) as clients:
            await talks(clients[4])
        assert sum(line["event"].startswith("overload") for line in guard.logs) <= 4


@pytest.mark.parametrize("over", ["tcp", "tls"])
async def test_the_stalled_make_room_for_the_honest(backend: RecordingBackend, tmp_path: Path, over: str) -> None:
    """Of those who have asked for nothing the one that came first is gone, before TLS as behind it."""
    authority = Authority(tmp_path)
    certificate, key = authority.server("localhost")
    tls = f"listener: {{tls: {{certFile: {certificate}, keyFile: {key}}}}}, " if over == "tls" else ""
    trust = authority.trusting() if over == "tls" else None
    async with Guard(backend, limited(tls + "overload: {maxConnections: 20}")) as guard, AsyncExitStack() as stack:
        stalled = [await stack.enter_async_context(connect(guard.port)) for _ in range(60)]
        if over == "tcp":
            for client in stalled[-20:]:
                await client.send(wire.upgrade()[:40])
        for _ in range(15):
            client = await stack.enter_async_context(connect(guard.port, tls=trust))
            origin = f"http{'s' if trust else ''}://localhost:{guard.port}"
            await client.open(wire.upgrade(host=f"localhost:{guard.port}", origin=origin))
            await talks(client)
        with suppress(ConnectionError):
            assert await stalled[0].rest() == b""


async def test_who_makes_room_behind_a_tls_handshake_is_gone_at_once(backend: RecordingBackend, tmp_path: Path) -> None:
    """None of them answers a close_notify: those made to leave would be two seconds' worth beyond the limit."""
    authority = Authority(tmp_path)
    certificate, key = authority.server("localhost")
    tls = f"listener: {{tls: {{certFile: {certificate}, keyFile: {key}}}}}, "
    async with Guard(backend, limited(tls + "overload: {maxConnections: 20}")) as guard:
        before = open_sockets(guard.program.pid)
        with ExitStack() as stack:
            for _ in range(80):
                stalled = stack.enter_context(socket.create_connection(("127.0.0.1", guard.port), 5.0))
                await asyncio.to_thread(shake_hands, stalled, authority.trusting())
            at_once = TLS_SHUTDOWN / 4
            await eventually(lambda: open_sockets(guard.program.pid) - before <= 20, at_once, "no more than may be")


def shake_hands(raw: socket.socket, trust: ssl.SSLContext) -> None:
    """Finish a TLS handshake; nobody reads what comes behind it."""
    came, to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
    peer, is_done = trust.wrap_bio(came, to_send, server_hostname="localhost"), False
    while not is_done:
        with suppress(ssl.SSLWantReadError):
            peer.do_handshake()
            is_done = True
        raw.sendall(to_send.read())
        if not is_done:
            came.write(raw.recv(65_536))


def open_sockets(pid: int) -> int:
    found = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            found += os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:")
    return found


async def test_too_much_memory(backend: RecordingBackend) -> None:
    """503 with a time to come back, nothing asked of the backend; who is inside and who logs out is served."""
    async with Guard(backend, limited("overload: {maxMemory: 1000Mi}")) as guard, opened(guard, 1) as clients:
        asked = len(backend.requests)
        guard.write("guard.yaml", limited("overload: {maxMemory: 8Mi}")["guard.yaml"])
        await guard.log({"event": "overloaded", "cause": "memory"})
        for request in (wire.upgrade(), wire.request("GET", "/page", [("Host", "localhost")])):
            async with connect(guard.port) as client:
                await client.send(request)
                head = await client.head()
                assert head.status == 503
                assert 1 <= int(head.get("retry-after") or 0) <= 10
        async with connect(guard.port) as client:
            await client.send(wire.request("POST", "/.wsguard/backchannel-logout", [("Host", "localhost")]))
            assert (await client.head()).status == 404  # nothing is configured there: it was looked at
        assert len(backend.requests) == asked
        await talks(clients[0])
        assert await guard.metric("wsguard_overload_refusals_total", cause="memory") == 2
        guard.write("guard.yaml", limited("overload: {maxMemory: 1000Mi}")["guard.yaml"])
        assert (await guard.log({"event": "overload_ended", "cause": "memory"}))["refused"] == 2
        async with opened(guard, 1) as more:
            await talks(more[0])


async def test_without_descriptors(backend: RecordingBackend) -> None:
    """Nobody comes in, those inside talk, the guard does not spin, and it takes connections again afterwards."""
    async with Guard(backend, limited("logging: {level: info}")) as guard, opened(guard, 3) as clients:
        pid = guard.program.pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = max(int(name) for name in os.listdir(f"/proc/{pid}/fd")) + 1
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 4, before[1]))
        async with AsyncExitStack() as stack:
            for _ in range(40):
                with suppress(ConnectionError):
                    client = await stack.enter_async_context(connect(guard.port))
                    await client.send(wire.upgrade()[:30])
            await guard.log({"event": "overloaded", "cause": "descriptors"})
            busy, began = cpu_seconds(pid), time.monotonic()
            for _ in range(5):
                for client in clients:
                    await talks(client)
                await asyncio.sleep(0.2)
            assert (cpu_seconds(pid) - busy) / (time.monotonic() - began) < 0.3
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        await guard.log({"event": "overload_ended", "cause": "descriptors"})
        async with opened(guard, 5) as more:
            await talks(more[4])
        for client in clients:
            await talks(client)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


FEW = (
    "-c",
    "import resource, runpy; resource.setrlimit(resource.RLIMIT_NOFILE, (140, 140)); "
    "runpy.run_module('wsguard', run_name='__main__', alter_sys=True)",
)
"""A guard with 140 descriptors: room for twenty connections."""


async def test_descriptors_bound_the_crowd(backend: RecordingBackend) -> None:
    """What the system grants is divided before it is used up: probes and logs find theirs in any crowd."""
    async with Guard(backend, limited(""), python=FEW) as guard, opened(guard, 20) as clients:
        assert await is_turned_away(guard)
        await guard.log({"event": "overloaded", "cause": "connections"})
        assert await guard.metric("wsguard_overloaded", cause="descriptors") == 0
        for client in clients:
            await talks(client)


async def test_a_crowd_on_the_admin_port(backend: RecordingBackend) -> None:
    """It has descriptors of its own, and no more: the public port is full, and nobody there feels it."""
    async with (
        Guard(backend, limited(""), python=FEW) as guard,
        opened(guard, 19) as clients,
        AsyncExitStack() as stack,
    ):
        for _ in range(300):
            silent = await stack.enter_async_context(connect(guard.admin_port))
            await silent.send(b"GET /livez HT")
        async with opened(guard, 1) as more:
            for client in (*clients, *more):
                await talks(client)
            assert await guard.metric("wsguard_overloaded", cause="descriptors") == 0


# Slow parties to a forwarded request.

SLOW = limited("listener: {handshakeTimeout: 3s, bodyTimeout: 2s}")
SIZE = 9000 * 4


async def test_slow_clients(backend: RecordingBackend) -> None:
    """Each at the same time as the others."""
    backend.respond = _respond
    async with Guard(backend, SLOW) as guard:
        await asyncio.gather(*(slow(guard) for slow in (_drips, _goes_on, _takes_nothing, _hears_late)))
        await guard.log({"event": "request_turned_away"})
        turned = [line["status"] for line in guard.logs if line["event"] == "request_turned_away"]
        assert turned == [408]
    await eventually(lambda: all(each.ended for each in backend.conversations))


async def _drips(guard: Guard) -> None:
    """A byte now and then is no sign of life."""
    async with connect(guard.port) as client:
        await client.send(wire.request("POST", "/drips", [("Host", "localhost"), ("Content-Length", "100")]))
        dripping = asyncio.create_task(_drip(client))
        began = time.monotonic()
        assert (await client.head()).status == 408
        assert time.monotonic() - began < 8.0, "while it still drips"
        await client.rest()
        dripping.cancel()


async def _drip(client: RawClient) -> None:
    with suppress(ConnectionError):
        for _ in range(90):
            await client.send(b"x")
            await asyncio.sleep(0.1)


async def _goes_on(guard: Guard) -> None:
    """8 KiB in each bodyTimeout are enough, for as long as it takes."""
    async with connect(guard.port) as client:
        await client.send(wire.request("POST", "/upload", [("Host", "localhost"), ("Content-Length", str(SIZE))]))
        for _ in range(4):
            await asyncio.sleep(0.6)
            await client.send(b"x" * (SIZE // 4))
        assert (await client.head()).status == 200


async def _takes_nothing(guard: Guard) -> None:
    """It is reset, however little is left."""
    async with connect(guard.port, receive_buffer=4096) as client:
        await client.send(wire.request("GET", "/large", [("Host", "localhost")]))
        await eventually(lambda: client.is_reset, what="the reset")
        with pytest.raises(ConnectionResetError):
            await client.rest()


async def _hears_late(guard: Guard) -> None:
    """A stream of events with nothing to say is slow to nobody."""
    async with connect(guard.port) as client:
        await client.send(wire.request("GET", "/events", [("Host", "localhost")]))
        assert (await client.head()).status == 200
        assert b"data: late" in await client.rest()


async def _respond(conversation: Conversation, head: Head) -> None:
    path = head.target
    if path == "/large":
        with suppress(ConnectionError):
            await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8000000\r\n\r\n")
            for _ in range(8):
                await conversation.send(b"x" * 1_000_000)
    elif path == "/events":
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        await asyncio.sleep(2.5)
        await conversation.send(b"data: late\n\n")
        conversation.close()
    else:
        with suppress(ConnectionError):
            await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


async def test_a_backend_that_never_answers(backend: RecordingBackend) -> None:
    """504 after responseTimeout; interim answers without end are no answer, and cost no memory."""

    async def respond(conversation: Conversation, head: Head) -> None:
        how = head.target
        while how == "/interim" and not conversation.writer.is_closing():
            with suppress(ConnectionError):
                await conversation.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 100)
            await asyncio.sleep(0)
        await asyncio.sleep(4.0)

    backend.respond = respond
    guard = Guard(backend, limited(f"backends: [{{url: '{backend.url}', responseTimeout: 1s}}]"))
    at = guard.program.command.index("--backend")  # which would replace the list
    del guard.program.command[at : at + 2]
    async with guard:
        before = await guard.metric("process_resident_memory_bytes")
        for path in ("/silent", "/interim"):
            async with connect(guard.port) as client:
                await client.send(wire.request("POST", path, [("Host", "localhost"), ("Content-Length", "4")], b"body"))
                assert (await client.head()).status == 504
        assert await guard.metric("process_resident_memory_bytes") - before < 32 << 20
