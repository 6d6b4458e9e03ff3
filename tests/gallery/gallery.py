"""The policies of the gallery, each as the file it is, between a client and the application it was written for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

from tests.support import wire
from tests.support.client import connect
from tests.support.guard import Guard
from tests.support.programs import ROOT
from tests.support.serving import TcpServer
from tests.support.tokens import Issuer
from tests.support.wire import Fields, Head

LOGIN = Issuer.of("ES256", issuer="https://login.example.com")
"""Whose tokens the policies of the gallery trust."""
FOREIGN = "https://evil.example"

_JWKS = 'remoteJWKS: {uri: "https://login.example.com/jwks"}'


def ending(subject: str, audience: str) -> str:
    """A token whose connection is cut in nine seconds: it has expired, but not by the 30 s that clocks may differ."""
    return LOGIN.token(subject, aud=audience, lives=-21)


class Place(NamedTuple):
    """An application, and what stands before it."""

    app: str
    witness: Witness
    guard: Guard


@asynccontextmanager
async def guarded(name: str, app: str, instead: Mapping[str, str] | None = None) -> AsyncIterator[Place]:
    """A guard with `policies/gallery/NAME.yaml` in front of the application at the URL `app`.

    Of the file only the host's name and the place of the keys are replaced, and with `instead` addresses of services
    and times that no test can wait for. The guard's hosts are 127.0.0.1 and, for browsers, `NAME.test`.
    """
    text = (ROOT / f"policies/gallery/{name}.yaml").read_text("utf-8")
    changes = {f"hostnames: [{name}.example.com]": f"hostnames: [127.0.0.1, {name}.test]", **(instead or {})}
    if _JWKS in text:
        changes[_JWKS] = "localJWKS: {file: {folder}/jwks.json}"
    for there, here in changes.items():
        assert there in text, there
        text = text.replace(there, here)
    async with Witness(app) as witness:
        guard = Guard(witness.url, text)
        (guard.folder / "jwks.json").write_text(LOGIN.jwks())
        async with guard:
            yield Place(app, witness, guard)


async def answer(
    guard: Guard, target: str, *, origin: str | None = None, subprotocols: str | None = None, fields: Fields = ()
) -> tuple[int, str]:
    """Code and first word of the reason with which a handshake to `target` is refused."""
    host = f"127.0.0.1:{guard.port}"
    async with connect(guard.port) as client:
        await client.open(wire.upgrade(target, host=host, origin=origin, subprotocols=subprotocols, fields=fields))
        code, reason = await client.close_frame()
        return code, reason.partition(" ")[0]


class Witness(TcpServer):
    """Stands between guard and application, changes nothing, and keeps the heads of the handshakes that came by."""

    def __init__(self, application: str) -> None:
        super().__init__()
        self.heads: list[Head] = []
        self._target = int(application.rpartition(":")[2])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        for source, sink, look in ((reader, there_writer, True), (there_reader, writer, False)):
            self.tasks.add(asyncio.create_task(self._pump(source, sink, look)))

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, look: bool) -> None:
        try:
            with suppress(ConnectionError):
                while data := await source.read(65536):
                    if look:
                        look = not self._saw_handshake(data)
                    sink.write(data)
                    await sink.drain()
        finally:
            sink.close()

    def _saw_handshake(self, data: bytes) -> bool:
        """The guard writes a handshake in one piece; a plain request may come before it on the same connection."""
        if b"\r\n\r\n" not in data or b" HTTP/1.1\r\n" not in data:
            return False
        head = wire.read_head(data.partition(b"\r\n\r\n")[0])
        if head.is_upgrade:
            self.heads.append(head)
        return head.is_upgrade
