from __future__ import annotations

from wsguard.events.pushed import IN_ALL, PER_CLIENT
from wsguard.events.rate import Rate


def test_a_client_has_a_burst_and_then_a_rate() -> None:
    rate = Rate(PER_CLIENT, IN_ALL)
    assert [rate.allows("a", 0.0) for _ in range(1_001)] == [True] * 1_000 + [False]
    assert rate.allows("b", 0.0), "another client has its own"
    assert [rate.allows("a", 0.01) for _ in range(3)] == [True, True, False]


def test_all_clients_together_have_one_too() -> None:
    rate = Rate(PER_CLIENT, IN_ALL)
    allowed = sum(rate.allows(f"client-{number}", 0.0) for number in range(5_000))
    assert allowed == 2_000
    assert rate.allows("late", 1.0)
