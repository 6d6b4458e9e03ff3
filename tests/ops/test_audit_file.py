from __future__ import annotations

import errno
import json
import os
from functools import partial
from pathlib import Path

import pytest

from tests.ops.rig import LogFile
from tests.support.waiting import eventually
from wsguard.ops.audit_file import AuditFile
from wsguard.ops.log import Log


def lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


def test_it_goes_on_where_the_file_ends(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_text("before\n")
    file = AuditFile(str(path))
    file.write("after")
    file.close()
    assert lines(path) == ["before", "after"]


def test_a_rotated_file_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    file = AuditFile(str(path))
    file.write("one")
    path.rename(tmp_path / "audit.log.1")
    file.reopen()
    file.write("two")
    file.close()
    assert lines(tmp_path / "audit.log.1") == ["one"]
    assert lines(path) == ["two"]
    assert path.stat().st_mode & 0o007 == 0  # not for everyone


def test_what_cannot_be_opened_anew_stays_open(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    file = AuditFile(str(folder / "audit.log"))
    folder.rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError):
        file.reopen()
    file.write("still here")
    file.close()
    assert lines(tmp_path / "moved" / "audit.log") == ["still here"]


def test_a_full_disk_is_counted() -> None:
    file = AuditFile("/dev/full")
    file.write("lost")
    file.reopen()
    file.write("lost too")
    file.close()
    assert file.dropped == 2


async def test_a_line_that_a_full_disk_has_cut_takes_no_other_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write = tmp_path / "audit.log", os.write
    room = [4, 2, 0, 3, 0, 0]  # bytes that each write finds room for, the last ones without an end

    def limited(fd: int, data: bytes) -> int:
        if not room:
            return write(fd, data)
        if not (some := room.pop(0)):
            raise OSError(errno.ENOSPC, "full")
        return write(fd, data[:some])

    file = AuditFile(str(path))
    monkeypatch.setattr(os, "write", limited)
    file.write("one")
    for line in ("two", "three", "four"):
        lost = file.dropped
        await eventually(lambda: not file._writer._size)
        file.write(line)
        await eventually(partial(lambda before: file.dropped > before, lost))
    file.write("five")
    file.close()
    assert file.dropped == 3
    assert lines(path) == ["one", "tw", "th", "five"]


def test_half_a_line_of_an_earlier_guard_takes_none_along(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_text('{"half')
    file = AuditFile(str(path))
    file.write("whole")
    file.close()
    assert lines(path) == ['{"half', "whole"]


def test_a_pipe_that_nobody_reads_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    file = AuditFile(str(path))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(OSError, match="No such device"):
        file.reopen()
    file.close()


def test_audit_events_go_there_whatever_the_level_and_nothing_else_does(tmp_path: Path) -> None:
    path, stdout = tmp_path / "audit.log", LogFile()
    log = Log(stdout.log._writer, "error", "text", AuditFile(str(path)))
    log.revision = "0a1b2c"
    assert log.tells_audit(20)
    log.audit("handshake", policy="chat", detail=None)
    log.event("fault", 40, where="here")
    log.close()
    (event,) = [json.loads(line) for line in lines(path)]
    del event["time"]
    assert event == {"level": "info", "event": "handshake", "policy": "chat", "revision": "0a1b2c"}
    (line,) = stdout.end().splitlines()
    assert line.endswith("fault where=here")


def test_without_a_file_they_are_among_the_others() -> None:
    stdout = LogFile(level="warning")
    stdout.log.revision = "0a1b2c"
    assert not stdout.log.tells_audit(20)
    stdout.log.audit("handshake")
    stdout.log.audit("reload_refused", 40)
    (event,) = stdout.events()
    assert (event["event"], event["revision"]) == ("reload_refused", "0a1b2c")
