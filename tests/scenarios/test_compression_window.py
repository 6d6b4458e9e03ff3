"""`compressionWindowBits` with libraries that compress: each keeps to the window that the guard has written in."""

from __future__ import annotations

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate

from tests.support.guard import Guard, policy

TEXT = "the same words again " * 500


def _windows(peer: ClientConnection | ServerConnection) -> tuple[int, int] | None:
    """Of what it receives and of what it sends, as powers of two; None: nothing is compressed."""
    for extension in peer.protocol.extensions:
        assert isinstance(extension, PerMessageDeflate)
        return extension.remote_max_window_bits, extension.local_max_window_bits
    return None


async def test_both_sides_keep_to_the_window() -> None:
    """A client whose own window cannot be bounded goes uncompressed."""
    seen: list[tuple[int, int] | None] = []

    async def echo(peer: ServerConnection) -> None:
        seen.append(_windows(peer))
        async for message in peer:
            await peer.send(message)

    async with serve(echo, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with Guard(f"http://127.0.0.1:{port}", policy("limits: {compressionWindowBits: 10}")) as guard:
            url = f"ws://localhost:{guard.port}/"
            async with connect(url, max_size=None) as client:
                assert _windows(client) == (10, 10)
                await client.send(TEXT)
                assert await client.recv() == TEXT
            fixed = [ClientPerMessageDeflateFactory(client_max_window_bits=None)]
            async with connect(url, extensions=fixed, compression=None) as client:
                assert _windows(client) is None
                await client.send(TEXT)
                assert await client.recv() == TEXT
    assert seen == [(10, 10), None]
