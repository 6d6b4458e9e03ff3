"""Real engines, each a process of its own on a free port with its data in a folder of its own."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import nats
import redis.asyncio as aioredis
from nats.aio.client import Client
from nats.errors import Error as NatsError
from redis.exceptions import RedisError

from tests.support.network import Network
from tests.support.ports import free_port
from tests.support.programs import Program, need
from tests.support.waiting import eventually
from wsguard.events.assemble import open_channel, open_streams
from wsguard.events.channel import Channel
from wsguard.events.source import Stream
from wsguard.policy.model import SessionEvents

START = 20.0


class Engine:
    """An engine that can be killed and started again on its data. `port` may be replaced by a relay's.

    It runs behind `network` where one is given; this process then reaches it by link 0.
    """

    source: str

    def __init__(self, network: Network | None = None) -> None:
        self.port = free_port()
        self.host = network.address(0) if network else "127.0.0.1"
        self._enter = network.enter if network else ()
        self._bind = "0.0.0.0" if network else "127.0.0.1"
        self._home = tempfile.TemporaryDirectory(prefix="wsguard-engine-")
        self.folder = Path(self._home.name)
        self._program: Program | None = None

    def spec(self, port: int | None = None, host: str = "127.0.0.1", **more: Any) -> dict[str, Any]:
        """The source as a policy file has it."""
        raise NotImplementedError

    def stream(self, *, since: float = 0.0, port: int | None = None, **more: Any) -> Stream:
        """A stream that begins at `since`, as the guard opens it."""
        events = SessionEvents.model_validate({"sources": [self.spec(port, **more)], "replayWindow": 1000.0})
        (stream,) = open_streams(events, self.files, since + 1000.0)
        return stream

    def channel(self, *, port: int | None = None, **more: Any) -> Channel:
        """What guards say beside that stream, as the guard opens it."""
        events = SessionEvents.model_validate({"sources": [self.spec(port, **more)]})
        channel = open_channel(events, self.files)
        assert channel is not None
        return channel

    def files(self) -> Mapping[str, bytes]:
        return {str(path): path.read_bytes() for path in self.folder.iterdir() if path.is_file()}

    def command(self) -> list[str]:
        raise NotImplementedError

    async def is_there(self) -> bool:
        raise NotImplementedError

    async def add(self, document: bytes) -> None:
        """What a script does: one XADD, one `nats pub` that waits for the answer; then it is stored."""
        raise NotImplementedError

    async def trim(self, keep: int) -> None:
        """Let only the last `keep` entries stay."""
        raise NotImplementedError

    async def drop(self) -> None:
        """Delete the stream."""
        raise NotImplementedError

    async def start(self) -> None:
        self._program = Program(*self._enter, *self.command())
        await self._program.start()
        await eventually(self._answers, START, f"{self.command()} answers")

    async def kill(self) -> None:
        """SIGKILL, as a crash."""
        assert self._program is not None
        self._program.process.kill()
        await self._program.wait()

    async def _answers(self) -> bool:
        with suppress(OSError, TimeoutError, RedisError, NatsError):
            return await self.is_there()
        return False

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except AssertionError:  # whoever else walks through ports may have taken this one in the meantime
            assert self._program is not None
            if self._program.process.returncode is None:
                await self.kill()
            self.port = free_port()
            await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._program is not None
        if self._program.process.returncode is None:
            await self.kill()
        self._home.cleanup()


class Redis(Engine):
    """Debian's redis-server; every write is on disk before it is answered."""

    source = "RedisStream"

    def spec(self, port: int | None = None, host: str = "127.0.0.1", **more: Any) -> dict[str, Any]:
        return {"type": "RedisStream", "url": f"redis://{host}:{port or self.port}/0", **more}

    def command(self) -> list[str]:
        return [
            need("redis-server"), "--port", str(self.port), "--bind", self._bind, "--dir", str(self.folder),
            "--protected-mode", "no", "--appendonly", "yes", "--appendfsync", "always", "--save", "",
        ]  # fmt: skip

    def client(self) -> aioredis.Redis:
        return aioredis.Redis(host=self.host, port=self.port)

    async def is_there(self) -> bool:
        async with self.client() as client:
            return bool(await client.ping())

    async def add(self, document: bytes) -> None:
        async with self.client() as client:
            await client.xadd("wsguard:events", {"event": document})

    async def trim(self, keep: int) -> None:
        async with self.client() as client:
            await client.xtrim("wsguard:events", maxlen=keep, approximate=False)

    async def drop(self) -> None:
        async with self.client() as client:
            await client.delete("wsguard:events")


class Nats(Engine):
    """Debian's nats-server with JetStream on disk."""

    source = "NATSJetStream"

    def spec(self, port: int | None = None, host: str = "127.0.0.1", **more: Any) -> dict[str, Any]:
        return {"type": "NATSJetStream", "url": f"nats://{host}:{port or self.port}", **more}

    def command(self) -> list[str]:
        folder = self.folder / "jetstream"
        return [need("nats-server"), "-a", self._bind, "-p", str(self.port), "-js", "-sd", str(folder)]

    async def is_there(self) -> bool:
        answer = await self.ask("$JS.API.INFO")
        return "error" not in answer

    async def client(self) -> Client:
        return await nats.connect(
            f"nats://{self.host}:{self.port}",
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=1,
            error_cb=_mute,
        )

    async def ask(self, subject: str, payload: object = None) -> Any:
        client = await self.client()
        try:
            data = b"" if payload is None else json.dumps(payload).encode()
            return json.loads((await client.request(subject, data, timeout=5)).data)
        finally:
            await client.close()

    async def add(self, document: bytes) -> None:
        client = await self.client()
        try:
            assert b"error" not in (await client.request("wsguard.events", document, timeout=5)).data
        finally:
            await client.close()

    async def trim(self, keep: int) -> None:
        assert (await self.ask("$JS.API.STREAM.PURGE.WSGUARD", {"keep": keep} if keep else None))["success"]

    async def drop(self) -> None:
        assert (await self.ask("$JS.API.STREAM.DELETE.WSGUARD"))["success"]


async def _mute(error: Exception) -> None:
    await asyncio.sleep(0)
