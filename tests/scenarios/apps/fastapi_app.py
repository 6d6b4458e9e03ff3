"""A FastAPI app with a socket, an event stream, an upload and a slow download, none of it guarded."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse, StreamingResponse

app = FastAPI()


@app.websocket("/ws")
async def echo(socket: WebSocket) -> None:
    """Greets with the headers it got, then echoes text and bytes."""
    await socket.accept(next(iter(socket.scope["subprotocols"]), None))
    await socket.send_json(dict(socket.headers))
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("text") is not None:
                await socket.send_text(message["text"])
            else:
                await socket.send_bytes(message["bytes"])
    except WebSocketDisconnect:
        return


has_read = asyncio.Event()


@app.get("/events")
async def events() -> StreamingResponse:
    """An event at once, and one more when its reader has said so: through a proxy that buffers it would never come."""

    async def stream() -> AsyncIterator[str]:
        yield "data: first\n\n"
        await has_read.wait()
        yield "data: second\n\n"

    return StreamingResponse(stream(), media_type="text/event-stream")


@app.post("/has-read")
async def read() -> None:
    """The reader of `/events` has the first."""
    has_read.set()


@app.get("/ticks")
async def ticks(request: Request) -> StreamingResponse:
    """Events without end, each in two pieces, from where the client has heard the last."""
    start = int(request.headers.get("last-event-id", "0"))

    async def stream() -> AsyncIterator[str]:
        yield f"data: hello {request.headers.get('x-user')}\n\n"
        for number in itertools.count(start + 1):
            yield f"id: {number}\ndata: tick"
            await asyncio.sleep(0.05)
            yield f" {number}\n\n"

    return StreamingResponse(stream(), media_type="text/event-stream")


@app.post("/upload")
async def upload(request: Request) -> JSONResponse:
    """Digest of a body that is read as it comes."""
    digest, size = hashlib.sha256(), 0
    async for chunk in request.stream():
        digest.update(chunk)
        size += len(chunk)
    return JSONResponse({"sha256": digest.hexdigest(), "size": size, "headers": dict(request.headers)})


@app.get("/download")
async def download(size: int) -> StreamingResponse:
    """`size` bytes in pieces, with no length announced."""

    async def stream() -> AsyncIterator[bytes]:
        for at in range(0, size, 65536):
            yield b"d" * min(65536, size - at)

    return StreamingResponse(stream(), media_type="application/octet-stream")
