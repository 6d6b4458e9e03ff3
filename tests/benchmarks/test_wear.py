"""The long run among failing peers, for a moment; and that it says so where something is left over."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.wear import Held, _judge, wear

FRESH = Held(memory=40.0, descriptors=20, tasks=6, live=0, admitted=0, closed=0)
AFTER = replace(FRESH, admitted=100, closed=100)
FLAT = [40.0, 50.0, 50.0, 51.0]


async def test_a_moment_among_peers_that_fail() -> None:
    assert await wear(5.0, seed=3, visitors=10) == []


def test_what_is_left_over_is_said() -> None:
    assert _judge(FRESH, AFTER, FLAT) == []
    assert _judge(FRESH, replace(AFTER, closed=99), FLAT) == ["100 were admitted, 99 closed, 0 live"]
    assert _judge(FRESH, replace(AFTER, descriptors=21), FLAT) == ["21 descriptors, at first 20"]
    assert _judge(FRESH, replace(AFTER, tasks=7), FLAT) == ["7 tasks, at first 6"]
    assert _judge(FRESH, AFTER, [40.0, 50.0, 60.0, 70.0]) == ["memory grew from 50.0 to 70.0 MiB"]
