from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator

import pytest

from tests.ops.rig import LogFile
from wsguard.ops.log import Log
from wsguard.ops.log_writer import LineWriter


@pytest.fixture(autouse=True)
def _python_loggers() -> Iterator[None]:
    """Leave Python's loggers as they were."""
    root = logging.getLogger()
    handlers, level, own = root.handlers[:], root.level, logging.getLogger("wsguard").level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("wsguard").setLevel(own)


def test_an_event_is_one_json_object_on_one_line() -> None:
    lines = LogFile()
    lines.log.event("handshake", policy="chat", reason=None, duration=0.5, path="/a\r\nb\x1b[31m", who="Zoë")
    (event,) = lines.events()
    assert list(event)[:3] == ["time", "level", "event"]
    assert event.pop("time").endswith("Z")
    assert event == {
        "level": "info",
        "event": "handshake",
        "policy": "chat",
        "duration": 0.5,
        "path": "/a\\r\\nb\\x1b[31m",
        "who": "Zoë",
    }


def test_what_is_below_the_level_is_not_said() -> None:
    lines = LogFile(level="WARNING")
    lines.log.event("handshake")
    lines.log.event("fault", logging.ERROR)
    assert [event["event"] for event in lines.events()] == ["fault"]


def test_text_is_for_people() -> None:
    lines = LogFile(form="text")
    lines.log.event("handshake", policy="chat", detail='no "Origin" at all', code=4403, empty="")
    text = lines.end().strip()
    assert text.endswith('info    handshake policy=chat detail="no \\"Origin\\" at all" code=4403 empty=""')


def test_python_loggers_speak_through_the_log() -> None:
    lines = LogFile(level="info")
    lines.log.install()
    logging.getLogger("wsguard.config").info("reloaded %d files", 3)
    logging.getLogger("aiohttp.access").info("GET /?access_token=secret")
    logging.getLogger("aiohttp.server").warning("odd\x1b[0m")
    events = lines.events()
    assert [(e["event"], e["level"], e["logger"], e["message"]) for e in events] == [
        ("message", "info", "wsguard.config", "reloaded 3 files"),
        ("message", "warning", "aiohttp.server", "odd\\x1b[0m"),
    ]


def test_an_exception_is_named_and_placed_but_its_message_is_not_told() -> None:
    lines = LogFile()
    lines.log.install()
    try:
        raise ValueError("Cookie: session=secret")
    except ValueError:
        logging.getLogger("asyncio").exception("Task exception was never retrieved")
    (event,) = lines.events()
    assert event["exception"] == "ValueError"
    assert event["traceback"][-1].startswith("tests/ops/test_log.py:")
    assert "secret" not in str(event)


def test_a_reader_that_stalls_never_stops_the_writer() -> None:
    read, write = os.pipe()
    writer = LineWriter(write, limit=100_000)
    began = time.monotonic()
    for _ in range(5_000):
        writer.write("x" * 99)
    assert time.monotonic() - began < 5
    assert writer.dropped > 0
    kept = 5_000 - writer.dropped
    drain = threading.Thread(target=_read_all, args=(read, got := bytearray()))
    drain.start()
    writer.close(timeout=10)
    os.close(write)
    drain.join(10)
    assert len(got) == kept * 100, "what was taken is written once the reader goes on"
    writer.write("too late")
    assert writer.dropped == 5_000 - kept + 1


def test_closing_does_not_wait_for_a_reader_for_ever() -> None:
    read, write = os.pipe()
    writer = LineWriter(write)
    writer.write("x" * 200_000)
    began = time.monotonic()
    writer.close(timeout=0.1)
    assert time.monotonic() - began < 5
    os.close(read)  # which frees the thread
    writer._thread.join(10)
    assert not writer._thread.is_alive()
    os.close(write)


def test_a_reader_that_left_is_no_fault() -> None:
    read, write = os.pipe()
    os.close(read)
    log = Log(LineWriter(write))
    log.event("handshake")
    log.close()
    assert log.dropped == 1
    os.close(write)


def _read_all(fd: int, got: bytearray) -> None:
    while data := os.read(fd, 65_536):
        got += data
    os.close(fd)


def test_a_pipe_that_somebody_made_non_blocking_loses_nothing() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    writer = LineWriter(write)
    line = "x" * 99
    for _ in range(5000):  # more than a pipe holds
        writer.write(line)
    got = 0
    while got < 5000 * 100:
        got += len(os.read(read, 65536))
    assert writer.close()
    assert writer.dropped == 0
    os.close(read)
    os.close(write)
