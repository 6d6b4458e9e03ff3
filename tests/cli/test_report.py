"""`wsguard report`: the audit trail summed up."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsguard.cli import _tally, main
from wsguard.cli._audit_trail import read, read_line
from wsguard.cli._tally import Tally
from wsguard.ops.redact import timestamp


def line(event: str = "handshake", at: float = 1_700_000_000.0, **fields: Any) -> str:
    """A line as the log writes it."""
    return json.dumps({"time": timestamp(at), "level": "info", "event": event, "policy": "chat", **fields})


def audited(origin: str, reason: str = "origin-denied", **fields: Any) -> str:
    return line(result="audited", reason=reason, origin=origin, **fields)


TRAIL = [
    *[audited("https://partner.example") for _ in range(3)],
    audited("https://app.example", "credential-missing"),
    line(result="audited", reason="origin-denied"),
    line(result="admitted", origin="https://app.example"),
    line("cut_spared", reason="session-expired"),
    line("connection_closed", reason="terminated", initiator="guard"),
    line("connection_closed", reason="client-closed", initiator="client"),
    line(policy=None, result="refused", reason="no-policy", origin="https://a.example", at=1_700_000_060.0),
    line("policies_loaded", at=1.0),
]


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["report", *arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_what_enforce_would_have_done_comes_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "audit.log").write_text("\n".join(["a line of somebody else", *TRAIL]))
    assert report(capsys, str(tmp_path / "audit.log")) == (
        0,
        """from 2023-11-14T22:13:20Z to 2023-11-14T22:14:20Z

no policy
  of 1 handshake refused 1:
    1  no-policy  https://a.example

policy chat
  of 6 handshakes Enforce would have refused 5:
    3  origin-denied  https://partner.example
    1  credential-missing  https://app.example
    1  origin-denied  no Origin
  of the live connections Enforce would have cut 1:
    1  session-expired
  of the live connections cut 1:
    1  terminated
""",
        "1 lines are no guard's, and were left out\n",
    )


def test_for_programs_and_from_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(f"[pod/guard] {each}" for each in TRAIL)))
    status, out, _ = report(capsys, "--json")
    (chat, nobody) = json.loads(out)["policies"]
    assert (status, chat["admitted"], nobody["policy"]) == (0, 1, None)
    assert chat["audited"][0] == {"reason": "origin-denied", "origin": "https://partner.example", "count": 3}
    assert chat["spared"] == [{"reason": "session-expired", "count": 1}]


def test_only_the_last_hour(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now = time.time()
    trail = [audited("https://old.example", at=now - 7200), audited("https://new.example", at=now - 60)]
    (tmp_path / "audit.log").write_text("\n".join(trail))
    _, out, _ = report(capsys, str(tmp_path / "audit.log"), "--since", "1h")
    assert "new.example" in out
    assert "old.example" not in out


def test_a_stranger_who_makes_up_origins_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tally, "MOST_ROWS", 20)
    tally = Tally()
    tally.add(read(audited(f"https://{number}.example") for number in range(1000)), 0.0)
    counter = tally.policies["chat"].audited
    assert (len(counter), counter.total()) == (21, 1000)
    assert "    10  of 11 more kinds" not in list(tally.lines())  # what was not told apart is the largest row
    assert any(row.split() == ["980", "of", "other", "kinds"] for row in tally.lines())


def test_what_cannot_be_read_is_bad_usage(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, _, error = report(capsys, str(tmp_path / "gone"))
    assert (status, error) == (2, f"wsguard report: {tmp_path}/gone cannot be read: No such file or directory\n")
    assert report(capsys, "--since", "soon")[0] == 2


def test_an_empty_trail(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert report(capsys) == (0, "no handshake and no cut in these lines\n", "")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=2)
)
_FIELDS = st.sampled_from(("time", "event", "policy", "result", "reason", "origin", "initiator"))


@given(st.lists(st.dictionaries(_FIELDS, _VALUES) | st.just({"time": "2026-01-01T00:00:00Z", "event": "handshake"})))
def test_any_line_gets_an_answer(made: list[dict[str, Any]]) -> None:
    tally = Tally()
    tally.add(read(json.dumps(each) for each in made), 0.0)
    assert list(tally.lines())


@given(st.text())
def test_any_text_is_a_line_or_none(text: str) -> None:
    entry = read_line(text)
    assert entry is None or entry.event


def test_no_line_of_a_stranger_disturbs_the_report_or_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What JSON can say and a terminal cannot; a time in the year 10000; bytes that are no UTF-8."""
    hostile = line(result="refused", reason="origin-denied", origin="\ud800\x9b31m\u202e")
    late = line().replace(timestamp(1_700_000_000.0), "9999-12-31T23:59:59-14:00")
    given = io.BytesIO(b"\xff\xfe\n" + "\n".join((hostile, late)).encode())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(given, encoding="utf-8", errors="strict"))
    status, out, error = report(capsys, "--json")
    assert (status, error) == (0, "2 lines are no guard's, and were left out\n")
    assert json.loads(out)["policies"][0]["refused"][0]["origin"] == "\ud800\x9b31m\u202e"
    assert out.replace("\n", "").isprintable()
