from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.texts import guard, policy, with_secret
from wsguard.cli import main


def check(capsys: pytest.CaptureFixture[str], *paths: Path) -> tuple[int, list[str]]:
    status = main(["check", *map(str, paths)])
    return status, capsys.readouterr().out.splitlines()


def test_a_sound_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text(policy())
    (tmp_path / "b.yaml").write_text(guard())
    assert check(capsys, tmp_path) == (0, ["2 files: 0 errors, 0 warnings"])


def test_warnings_do_not_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(policy(spec="{enforcement: Audit}"))
    assert check(capsys, file) == (
        0,
        [
            f"{file}:4:21: warning: Audit: refusals are recorded, and the connections let through",
            "1 file: 0 errors, 1 warning",
        ],
    )


def test_every_error_is_a_line_and_the_exit_status_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text(policy(spec="{orign: {}, backendLos: {}}"))
    (tmp_path / "b.yaml").write_bytes(b"\xff")
    status, lines = check(capsys, tmp_path)
    assert status == 1
    assert [line.split(": ", 2)[:2] for line in lines[:-1]] == [
        [f"{tmp_path}/a.yaml:4:8", "error"],
        [f"{tmp_path}/a.yaml:4:19", "error"],
        [f"{tmp_path}/b.yaml:1:1", "error"],
    ]
    assert lines[-1] == "2 files: 3 errors, 0 warnings"


def test_keys_may_be_absent_where_policies_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text(with_secret("a.key"))
    status, lines = check(capsys, tmp_path)
    assert status == 0
    assert f'warning: "{tmp_path}/a.key" cannot be read: there is no such file or folder' in lines[0]
    (tmp_path / "a.key").write_text("short")
    status, lines = check(capsys, tmp_path)
    assert status == 1
    assert "error: " in lines[0]


def test_a_path_that_is_not_there_is_bad_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "gone")]) == 2
    assert capsys.readouterr().err == f"wsguard check: there is no file or folder {tmp_path}/gone\n"


def test_each_file_that_cannot_be_read_is_said_at_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").symlink_to("gone")
    (tmp_path / "b.yaml").symlink_to("x" * 300)
    (tmp_path / "c.yaml").write_text(policy())
    assert check(capsys, tmp_path) == (
        1,
        [
            f"{tmp_path}/a.yaml:1:1: error: there is no such file or folder",
            f"{tmp_path}/b.yaml:1:1: error: File name too long",
            "1 file: 2 errors, 0 warnings",
        ],
    )
    long = tmp_path / ("x" * 300)
    assert check(capsys, long) == (1, [f"{long}:1:1: error: File name too long", "0 files: 1 error, 0 warnings"])


def test_an_empty_folder_holds_nothing_to_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, lines = check(capsys, tmp_path)
    assert status == 1
    assert lines[0] == f"{tmp_path}:1:1: error: the folder holds no *.yaml file"


def test_a_name_with_control_characters_stays_on_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a\n\x1b[31m.yaml"
    file.write_text("kind: x")
    status, lines = check(capsys, file)
    assert status == 1
    assert len(lines) == 2
    assert "\x1b" not in lines[0]
