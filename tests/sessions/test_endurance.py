"""When a client that is held is given up."""

from __future__ import annotations

from wsguard.sessions.endurance import STEADY, Endurance


def test_a_loss_has_its_time() -> None:
    endurance = Endurance()
    endurance.lost(100.0, 30.0)
    assert (endurance.losses, endurance.left(100.0), endurance.left(129.0), endurance.left(200.0)) == (0, 30.0, 1.0, 0)


def test_backends_that_do_not_last_have_one_time_together() -> None:
    endurance, now = Endurance(), 100.0
    endurance.lost(now, 30.0)
    for losses in range(1, 4):
        now += 5.0
        endurance.back(now)
        now += STEADY / 2
        endurance.lost(now, 30.0)
        assert endurance.losses == losses
    assert endurance.left(now) == 0.0


def test_one_that_has_lasted_begins_it_anew() -> None:
    endurance = Endurance()
    endurance.lost(100.0, 30.0)
    endurance.back(101.0)
    endurance.lost(102.0, 30.0)
    endurance.back(103.0)
    endurance.lost(103.0 + STEADY + 0.1, 5.0)
    assert (endurance.losses, round(endurance.left(103.0 + STEADY + 0.1), 3)) == (0, 5.0)
