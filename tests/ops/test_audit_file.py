from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.ops.rig import LogFile
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
