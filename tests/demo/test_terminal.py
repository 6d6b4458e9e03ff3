"""The table tells whole and missing steps apart, with and without colour."""

from __future__ import annotations

import io

import pytest

from wsguard.demo.terminal import Observation, Terminal

SEEN = Observation("No cookie", "4401 credential-missing", "4401 credential-missing")
UNSEEN = Observation("The token expires", "4440 session-expired", "nothing within 10 s")


class Screen(io.StringIO):
    """A terminal as far as `isatty` says."""

    def isatty(self) -> bool:
        return True


def test_an_observation_holds_where_the_words_are_the_same() -> None:
    assert SEEN.holds
    assert not UNSEEN.holds


def test_the_table_lines_up_and_names_what_is_missing() -> None:
    out = io.StringIO()
    Terminal(out).table([SEEN, UNSEEN])
    assert out.getvalue().splitlines() == [
        "",
        "   step               expected                 observed",
        "   No cookie          4401 credential-missing  4401 credential-missing  ok",
        "   The token expires  4440 session-expired     nothing within 10 s      MISSING",
    ]


def test_a_pipe_gets_no_colour() -> None:
    out = io.StringIO()
    Terminal(out).verdict(SEEN)
    assert "\x1b" not in out.getvalue()


@pytest.mark.parametrize(
    ("environment", "colored"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_a_screen_gets_colour_unless_it_is_refused(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], colored: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    out = Screen()
    Terminal(out).verdict(UNSEEN)
    assert ("\x1b[31m" in out.getvalue()) is colored
