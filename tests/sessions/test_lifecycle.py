"""The rules that head the state table, over every sequence of events."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from wsguard.sessions.lifecycle import TABLE, Command, Event, Phase, Step, step

CLOSE_PASSED_ON = {
    (Phase.OPEN, Event.CLIENT_CLOSE): Command.CLOSE_BACKEND,
    (Phase.OPEN, Event.BACKEND_CLOSE): Command.CLOSE_CLIENT,
    (Phase.CLIENT_CLOSING, Event.BACKEND_CLOSE): Command.CLOSE_CLIENT,
    (Phase.BACKEND_CLOSING, Event.CLIENT_CLOSE): Command.CLOSE_BACKEND,
    (Phase.HALF_CLOSED, Event.BACKEND_CLOSE): Command.CLOSE_CLIENT,
    (Phase.DOOR, Event.CUT): Command.CLOSE_CLIENT,  # the 101 and the Close are one write
}
"""Where a peer's own Close goes on, which counts as the one Close that the other side gets."""

ARMS = {Command.ARM_GRACE, Command.ARM_PATIENCE, Command.HOLD}


def walk(events: tuple[Event, ...]) -> list[tuple[Phase, Event, Step]]:
    """What each of `events` leads to, from the door on. A timer fires only where one is armed."""
    phase, armed, steps = Phase.DOOR, False, []
    for event in events:
        if event is Event.TIMER and not armed:
            continue
        before, (phase, commands) = phase, step(phase, event)
        armed = (armed and event is not Event.TIMER) or bool(ARMS.intersection(commands))
        steps.append((before, event, (phase, commands)))
    return steps


def check(events: tuple[Event, ...]) -> None:
    closes: list[Command] = []
    records, ended, armed = 0, False, False
    for before, event, (phase, commands) in walk(events):
        assert not (ended and commands), f"commanded after the end: {commands}"
        records += commands.count(Command.RECORD)
        closes += [command for command in commands if command in (Command.CLOSE_CLIENT, Command.CLOSE_BACKEND)]
        if (before, event) in CLOSE_PASSED_ON:
            closes.append(CLOSE_PASSED_ON[before, event])
        armed = armed or bool(ARMS.intersection(commands))
        assert armed or phase in (Phase.DOOR, Phase.OPEN), f"nothing bounds {phase}"
        assert (Command.RECORD in commands) == (phase is Phase.ENDED and before is not Phase.ENDED)
        ended = phase is Phase.ENDED
    assert records == ended
    assert len(closes) == len(set(closes)), f"two Closes to one side: {closes} after {events}"


def once_each(events: tuple[Event, ...]) -> tuple[Event, ...]:
    """As transports behave: a Close, a FIN, a loss and a cut come once, and after a loss nothing comes from there."""
    kept: list[Event] = []
    for event in events:
        side = event.value.partition("-")[0]
        if event not in (Event.TIMER, Event.BACKEND_GONE, Event.BACK) and event in kept:
            continue
        if side in ("client", "backend"):
            lost = Event(f"{side}-lost")
            if lost in kept or (Event(f"{side}-eof") in kept and event is not lost):
                continue
        kept.append(event)
    return tuple(kept)


def test_every_sequence_of_five_events_keeps_the_rules() -> None:
    for events in itertools.product(Event, repeat=5):
        check(once_each((Event.OPEN, *events)))


@given(st.lists(st.sampled_from(Event), max_size=30))
def test_any_sequence_keeps_the_rules(events: list[Event]) -> None:
    check(once_each(tuple(events)))


@given(st.lists(st.sampled_from(Event), max_size=12))
def test_both_peers_gone_is_the_end(events: list[Event]) -> None:
    gone = (Event.CLIENT_LOST, Event.BACKEND_LOST)
    phase = Phase.DOOR
    for event in (Event.OPEN, *(event for event in events if event not in (*gone, Event.OPEN)), *gone):
        phase, _ = step(phase, event)
    assert phase is Phase.ENDED


@given(st.lists(st.sampled_from(Event), max_size=12))
def test_wherever_a_timer_is_armed_it_leads_to_the_end(events: list[Event]) -> None:
    steps = walk(once_each(tuple(events)))
    phase = steps[-1][2][0] if steps else Phase.DOOR
    if phase is Phase.HELD:
        phase, commands = step(phase, Event.GIVE_UP)
        assert ARMS.intersection(commands)
    if phase not in (Phase.DOOR, Phase.OPEN):
        assert step(phase, Event.TIMER)[0] is Phase.ENDED


@given(st.lists(st.sampled_from(Event), max_size=30))
def test_whoever_is_held_is_released_or_has_a_backend_again(events: list[Event]) -> None:
    """Exactly once for each time, and nothing of the backend that is gone moves it."""
    held = False
    for before, event, (phase, commands) in walk(once_each((Event.OPEN, *events))):
        assert held == (before is Phase.HELD)
        if Command.HOLD in commands:
            held = True
        elif held and phase is not Phase.HELD:
            held = False
            assert (Command.RELEASE in commands) == (event is not Event.BACK)
            assert (phase is Phase.OPEN) == (event is Event.BACK)
        else:
            assert Command.RELEASE not in commands
        if before is Phase.HELD and event.value.startswith("backend-"):
            assert (phase, commands) == (before, ())


def test_every_phase_is_reached_and_left() -> None:
    reached = {phase for phase, _ in TABLE.values()} | {Phase.DOOR}
    assert reached == set(Phase)
    assert {phase for phase, _ in TABLE} == set(Phase) - {Phase.ENDED}


def test_the_record_comes_before_an_abort_drops_what_it_tells() -> None:
    for (_, event), (phase, commands) in TABLE.items():
        if event is Event.TIMER:
            assert phase is Phase.ENDED
            assert commands[0] is Command.RECORD
