"""What is measured, and what is said of it."""

from __future__ import annotations

import os
import resource

from tests.ops.rig import LogFile
from wsguard.ops.overload_watch import OverloadWatch
from wsguard.policy.model import Overload as Spec
from wsguard.sessions.overload import Overload


def test_the_limits_in_force_are_the_configured_ones_within_what_descriptors_allow() -> None:
    log, overload, spec = LogFile(), Overload(), Spec()
    watch = OverloadWatch(overload, log.log, lambda: spec, lambda: 0, room=100)
    assert overload.limits.connections == 100
    for configured, in_force in ((50, 50), (500, 100)):
        spec = Spec(max_connections=configured)
        watch.sample(0.0)
        assert overload.limits.connections == in_force
    watch.close()
    assert log.events() == []


def test_one_line_when_it_begins_and_one_when_it_ends() -> None:
    """Resident memory is what the system says of this process."""
    log, overload, spec = LogFile(), Overload(), Spec(max_memory=1 << 20)
    watch = OverloadWatch(overload, log.log, lambda: spec, lambda: 0, room=100)
    for _ in range(5):
        watch.sample(0.0)
        overload.refuse()
    spec = Spec(max_memory=1 << 40)
    watch.sample(0.0)
    watch.close()
    began, ended = log.events()
    assert (began["event"], began["cause"], "refused" in began) == ("overloaded", "memory", False)
    assert (ended["event"], ended["cause"], ended["refused"]) == ("overload_ended", "memory", 5)


def test_descriptors_that_are_used_up_show() -> None:
    log, overload = LogFile(), Overload()
    watch = OverloadWatch(overload, log.log, Spec, lambda: 0, room=100)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.dup(0)
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe, before[1]))
    try:
        watch.sample(0.0)
        assert overload.is_shedding
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    watch.sample(0.0)
    assert not overload.is_shedding
    watch.close()
    log.end()
