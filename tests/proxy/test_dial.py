"""The backend's side of a handshake: a whole answer, or an error with a name, and never a connection left behind."""

from __future__ import annotations

import asyncio
import gc
import socket
import time

import pytest

from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import Answer, Conversation, RecordingBackend
from tests.support.waiting import eventually, stays
from tests.support.wire import Head
from wsguard.policy.model import Backend
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.upgrade import MAX_HEAD
from wsguard.protocol.upgrade import Answer as Answered
from wsguard.proxy.dial import DialError, dial

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
INVALID, TIMEOUT = CloseReason.BACKEND_INVALID, CloseReason.BACKEND_TIMEOUT


async def dialled(
    backend: RecordingBackend, *, connect_timeout: float = 2.0, timeout: float = 5.0
) -> tuple[asyncio.Transport, Answered]:
    dialled = Backend(url=backend.url, connect_timeout=connect_timeout)
    return await dial(asyncio.get_running_loop(), dialled, None, wire.upgrade(), timeout)


async def test_a_whole_answer_comes_with_a_paused_transport(backend: RecordingBackend) -> None:
    """Not a byte behind the head is read before somebody is there to take it, but for those of its own segment."""
    backend.answer = answers.accept("chat", then=b"early")
    transport, answer = await dialled(backend)
    assert (answer.status, answer.headers.all(b"sec-websocket-protocol")) == (101, [b"chat"])
    assert b"early".startswith(answer.tail)
    assert not transport.is_reading()
    (conversation,) = backend.conversations
    assert conversation.requests[0].raw + b"\r\n\r\n" == wire.upgrade()
    transport.abort()


async def test_an_answer_byte_by_byte(backend: RecordingBackend) -> None:
    async def answer(conversation: Conversation, head: Head) -> None:
        for byte in b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + answers.switching(head):
            await conversation.send(bytes([byte]))
            await asyncio.sleep(0)

    backend.answer = answer
    transport, answered = await dialled(backend)
    assert answered.status == 101
    transport.abort()


async def test_a_fin_behind_the_answer_is_left_to_the_splice(backend: RecordingBackend) -> None:
    """It belongs to the connection and not to the handshake."""

    async def answer(conversation: Conversation, head: Head) -> None:
        await conversation.send(answers.switching(head))
        conversation.close()

    backend.answer = answer
    transport, answered = await dialled(backend)
    assert answered.status == 101
    await stays(lambda: not transport.is_closing(), 0.05)
    transport.abort()


@pytest.mark.parametrize("status", [200, 302, 401, 403, 426, 500, 599, 999])
async def test_any_final_status_is_an_answer(backend: RecordingBackend, status: int) -> None:
    backend.answer = answers.reply(status, b"body")
    transport, answer = await dialled(backend)
    assert answer.status == status
    transport.abort()


async def _reset(conversation: Conversation, head: Head) -> None:
    await conversation.send(SWITCH)
    conversation.reset()


BROKEN: dict[str, Answer] = {
    "garbage": answers.raw(b"\x00\xff\x16\x03garbage\r\n\r\n"),
    "a server that speaks another protocol, and waits": answers.raw(b"220 mail.example.com ESMTP\r\n", close=False),
    "one wrong byte": answers.raw(b"X", close=False),
    "an end before anything": answers.raw(b""),
    "an end in the head": answers.raw(SWITCH + b"Sec-Web"),
    "an RST in the head": _reset,
    "a bare line feed": answers.raw(SWITCH.replace(b"\r\n", b"\n") + b"\n\r\n\r\n"),
    "a status of two digits": answers.raw(b"HTTP/1.1 99 No\r\n\r\n"),
    "HTTP/2": answers.raw(b"HTTP/2 101 Switching Protocols\r\n\r\n"),
    "a head without end": answers.raw(SWITCH + b"X: y\r\n" * MAX_HEAD, close=False),
    "interim answers without end": answers.raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 100, close=False),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_no_answer_is_invalid_and_the_connection_is_gone(backend: RecordingBackend, name: str) -> None:
    backend.answer = BROKEN[name]
    with pytest.raises(DialError) as caught:
        await dialled(backend)
    assert caught.value.reason is INVALID
    assert str(caught.value).startswith("the backend's answer: ")
    await (await backend.conversation()).until_ended()


async def test_silence_ends_at_the_deadline(backend: RecordingBackend) -> None:
    backend.answer = answers.silence()
    began = time.monotonic()
    with pytest.raises(DialError) as caught:
        await dialled(backend, connect_timeout=0.05, timeout=0.3)
    assert caught.value.reason is TIMEOUT
    assert time.monotonic() - began > 0.25, "the time to connect is not the time to answer"
    await (await backend.conversation()).until_ended()


async def test_half_an_answer_ends_at_the_deadline(backend: RecordingBackend) -> None:
    backend.answer = answers.raw(SWITCH, close=False)
    with pytest.raises(DialError) as caught:
        await dialled(backend, timeout=0.2)
    assert caught.value.reason is TIMEOUT


async def test_dripping_does_not_move_the_deadline(backend: RecordingBackend) -> None:
    async def answer(conversation: Conversation, head: Head) -> None:
        await conversation.send(SWITCH)
        while True:
            await conversation.send(b"X: y\r\n")
            await asyncio.sleep(0.02)

    backend.answer = answer
    began = time.monotonic()
    with pytest.raises(DialError) as caught:
        await dialled(backend, timeout=0.3)
    assert caught.value.reason is TIMEOUT
    assert time.monotonic() - began < 8.0


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(DialError) as caught:
        await dial(asyncio.get_running_loop(), Backend(url=f"http://127.0.0.1:{port}"), None, b"", 1.0)
    assert caught.value.reason is CloseReason.BACKEND_UNREACHABLE


async def test_nobody_accepts() -> None:
    """A full backlog: the SYN gets no answer at all."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        dialled = Backend(url=f"http://127.0.0.1:{address[1]}", connect_timeout=0.2)
        with socket.create_connection(address), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(address)
            began = time.monotonic()
            with pytest.raises(DialError) as caught:
                await dial(asyncio.get_running_loop(), dialled, None, b"", 20.0)
            assert caught.value.reason is TIMEOUT
            assert "connecting" in str(caught.value)
            assert time.monotonic() - began < 10.0


async def test_a_cancelled_dial_leaves_no_connection(backend: RecordingBackend) -> None:
    """The client left: whatever the backend had accepted for it ends."""
    backend.answer = answers.silence()
    task = asyncio.create_task(dialled(backend))
    conversation = await backend.conversation()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await conversation.until_ended()


async def test_a_cancel_that_comes_with_the_answer_leaves_no_connection(backend: RecordingBackend) -> None:
    """Both in one turn of the loop."""
    go = asyncio.Event()
    backend.answer = answers.accept(gate=go)
    for delay in range(6):
        task = asyncio.create_task(dialled(backend))
        await eventually(lambda: len(backend.conversations) and backend.conversations[-1].requests)
        go.set()
        for _ in range(delay):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task])
        if not task.cancelled() and task.exception() is None:
            done.pop().result()[0].abort()
        await backend.conversations[-1].until_ended()
        go.clear()
        backend.conversations.clear()


@pytest.mark.parametrize("turns", range(8))
async def test_a_cancel_at_any_moment_is_quiet(backend: RecordingBackend, turns: int) -> None:
    """Nothing is left that asyncio would complain of: an error that nobody asked for."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    dialling = asyncio.create_task(dialled(backend))
    for _ in range(turns):
        await asyncio.sleep(0)
    dialling.cancel()
    (result,) = await asyncio.gather(dialling, return_exceptions=True)
    if isinstance(result, tuple):
        result[0].abort()  # it was quicker
    await eventually(lambda: all(each.ended for each in backend.conversations))
    for _ in range(10):
        await asyncio.sleep(0)  # the transports' last calls
    del dialling, result  # which hold what they failed of
    gc.collect()
    assert complaints == []
