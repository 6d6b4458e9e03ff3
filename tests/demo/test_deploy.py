"""`wsguard demo --deploy` tells the truth: nobody loses anything, and where somebody does it is told."""

from __future__ import annotations

import io
import re
import signal
import sys
from collections import Counter
from typing import cast

import pytest

from tests.support.programs import Program
from wsguard.demo.deploy import VISITORS, tell
from wsguard.demo.terminal import Terminal
from wsguard.demo.visitor import Visitor


class Told:
    """A client whose story is known."""

    def __init__(self, name: str, *greetings: str, said: int = 3, heard: tuple[int, ...] = (1, 2, 3), gap: float = 0.0):
        self.name, self.greetings, self.sent, self.heard, self.gap = name, list(greetings), said, Counter(heard), gap

    lost, twice = Visitor.lost, Visitor.twice


FIRST, SECOND = "Welcome to version 1, x.", "Welcome to version 2, x."


async def test_fifty_clients_notice_nothing() -> None:
    program = Program(sys.executable, "-m", "wsguard", "demo", "--deploy")
    await program.start()
    status = await program.wait(60.0)
    told = "\n".join(program.lines)
    assert status == 0, told
    assert len(re.findall(r"^   client\d+ +1 (→ 1 )?→ 2 +(\d+) +\2 +0 +0 +0\.0 s$", told, re.MULTILINE)) == VISITORS
    assert "50 of 50 clients are on version 2" in told
    assert " messages: 0 lost, 0 came twice" in told
    assert not program.errors


async def test_an_interrupted_deploy_ends_everything() -> None:
    program = Program(sys.executable, "-m", "wsguard", "demo", "--deploy")
    await program.start()
    await program.line("version 1 of the chat becomes")  # and its guards start
    program.process.send_signal(signal.SIGTERM)
    assert await program.wait() == 130
    assert not program.errors


@pytest.mark.parametrize(
    ("visitor", "row"),
    [
        (Told("a", FIRST, SECOND, heard=(1, 3)), "a       1 → 2    3     2      1     0      0.0 s"),
        (Told("a", FIRST, SECOND, heard=(1, 2, 2, 3)), "a       1 → 2    3     3      0     1      0.0 s"),
        (Told("a", FIRST, SECOND, gap=1.25), "a       1 → 2    3     3      0     0      1.2 s"),
        (Told("a", FIRST), "a       1        3     3      0     0      0.0 s"),
    ],
    ids=["lost", "twice", "away", "left behind"],
)
def test_what_somebody_lost_is_told(visitor: Told, row: str) -> None:
    out = io.StringIO()
    assert tell([cast("Visitor", visitor)], Terminal(out))
    assert row in out.getvalue()


def test_a_client_that_noticed_nothing_is_told_too() -> None:
    assert not tell([cast("Visitor", Told("a", FIRST, SECOND))], Terminal(io.StringIO()))
