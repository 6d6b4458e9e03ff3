"""An application that says which of several it is: `COLOUR PORT`. It answers each message with its colour before it."""

from __future__ import annotations

import asyncio
import sys

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response


async def main(colour: str, port: int) -> None:
    async def answer(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(f"{colour} {message!s}")

    def page(connection: ServerConnection, request: Request) -> Response | None:
        return None if request.path == "/ws" else connection.respond(200, colour)

    async with serve(answer, "127.0.0.1", port, process_request=page) as server:
        print(f"{colour} listens", flush=True)
        await server.serve_forever()


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
