"""`wsguard inject`: what goes in, what comes out, and where things are said."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from wsguard.cli import main

CHAT = Path(__file__).parents[1] / "kubernetes/golden/node-red.yaml"
GUARDED = CHAT.with_name("node-red.guarded.yaml")


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    """Standard input: what is written there is read from its beginning."""
    given = io.BytesIO()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(given))
    return given


def test_standard_input_to_standard_output(given: io.BytesIO, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    given.write(CHAT.read_bytes())
    given.seek(0)
    assert main(["inject"]) == 0
    assert capfdbinary.readouterr() == (GUARDED.read_bytes(), b"")


def test_a_file_there_and_back(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["inject", "--uninject", "-f", str(GUARDED)]) == 0
    assert capfdbinary.readouterr().out == CHAT.read_bytes()


def test_line_breaks_and_a_byte_order_mark_stay(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    file = tmp_path / "windows.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + CHAT.read_bytes().replace(b"\n", b"\r\n"))
    assert main(["inject", "-f", str(file)]) == 0
    assert capfdbinary.readouterr().out == b"\xef\xbb\xbf" + GUARDED.read_bytes().replace(b"\n", b"\r\n")


def test_a_diff_has_the_changed_lines_and_no_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inject", "--diff", "-f", str(CHAT)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"--- {CHAT}", f"+++ {CHAT} (guarded)"]
    assert [line.strip("- ") for line in lines[2:] if line.startswith("-")] == [
        'args: ["--userDir", "/data", "-D", "flowFile=flows.json"]   # settings.js is in there',
        "port: http",
        "targetPort: http",
    ]


def test_a_diff_says_where_a_line_break_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "short.yaml"
    file.write_text(CHAT.read_text().rstrip("\n"))
    assert main(["inject", "--diff", "-f", str(file)]) == 0
    assert "\n\\ No newline at end of file\n" in capsys.readouterr().out


def test_problems_are_said_and_nothing_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("apiVersion: batch/v1\nkind: Job\nmetadata: {name: once}\n")
    assert main(["inject", "-f", str(file)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"{file}:1:1: error: Job once gets no guard: ")


def test_what_cannot_be_opened_or_is_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inject", "-f", str(tmp_path / "none.yaml")]) == 2
    (tmp_path / "latin.yaml").write_bytes(b"a: \xfc\n")
    assert main(["inject", "-f", str(tmp_path / "latin.yaml")]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("none.yaml: No such file or directory")
    assert "latin.yaml is not UTF-8" in second
