"""Which cookies were admitted and what they replaced: found backwards, never forwards, and bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wsguard.sessions.successions import DOUBT, MOST_AFTER, MOST_BEFORE, MOST_DOUBTED, MOST_LIVE_BEFORE, Successions


def successions(*live: str, most: int = 100) -> Successions:
    return Successions(lambda digest: digest in live, most)


def test_only_what_was_admitted_is_known() -> None:
    one = successions("live")
    one.admit("a")
    assert [one.knows(digest) for digest in ("a", "live", "invented")] == [True, True, False]
    one.replace("invented", "b")
    assert not one.knows("b")
    assert len(one) == 1


def test_a_new_value_is_found_with_those_before_it_and_not_the_other_way_round() -> None:
    """What came later may be of the login after the log-out."""
    one = successions()
    one.admit("a")
    one.replace("a", "b")
    one.replace("b", "c")
    assert one.session_of("c") == one.session_of("b") == ("a",), "b was never admitted, only given out"
    assert one.session_of("a") == ("a",)
    assert one.session_of("x") == ()
    one.admit("c")
    assert one.session_of("c") == ("c", "a")
    one.replace("c", "d")
    assert one.session_of("d") == ("c", "a")


def test_two_answers_to_one_value_are_two_lines() -> None:
    one = successions()
    one.admit("a")
    one.replace("a", "b1")
    one.replace("a", "b2")
    assert one.session_of("b2") == ("a",)
    one.admit("b2")
    one.replace("b2", "b1")
    assert one.session_of("b1") == ("b2", "a")


def test_back_and_forth_is_no_loop() -> None:
    one = successions()
    one.admit("a")
    for _ in range(3):
        one.replace("a", "b")
        one.replace("b", "a")
    assert one.session_of("a") == one.session_of("b") == ("a",)


def test_a_cookie_that_is_new_in_every_answer_takes_little_room() -> None:
    one = successions("0", most=1000)
    one.admit("0")
    for number in range(500):
        one.replace(str(number), str(number + 1))
    assert one.session_of("500")[-1] == "0", "a connection lives by it"
    assert len(one) <= MOST_AFTER + 1


def test_nobody_makes_others_forgotten_with_all_the_values_he_can_get() -> None:
    """Without another handshake: one session asks for ever new cookies, and uses each or none."""
    one = successions("mine", most=10)
    one.admit("theirs", "mine")
    one.replace("theirs", "their next")
    for number in range(500):
        one.replace("mine", f"leaf {number}")
        one.replace(f"leaf {number}", f"bud {number}")
    assert one.session_of("their next") == ("theirs",)
    assert len(one) <= 2 + 2 * MOST_AFTER


def test_a_session_with_many_admitted_values_is_bounded_but_for_live_ones() -> None:
    one = successions("0", "1", most=1000)
    one.admit("0", "1")
    for number in range(30):
        one.admit(str(number + 1))
        one.replace(str(number), str(number + 1))
    line = one.session_of("30")
    assert line[0] == "30"
    assert set(line[-2:]) == {"0", "1"}
    assert len(line) == MOST_BEFORE + 3


def test_the_eldest_is_forgotten_but_none_that_a_connection_lives_by() -> None:
    one = successions("live", most=10)
    one.admit("live")
    one.replace("live", "next")
    for number in range(50):
        one.admit(str(number))
    assert len(one) == 11
    assert one.session_of("next") == ("live",)
    assert one.knows("49")
    assert not one.knows("0")


def test_an_application_that_gives_everyone_one_value_is_bounded_too() -> None:
    live = [str(number) for number in range(300)]
    one = successions(*live, most=1000)
    for digest in live:
        one.admit(digest)
        one.replace(digest, "guest")
    assert len(one.session_of("guest")) == MOST_LIVE_BEFORE


def test_a_logout_of_a_stranger_is_held_against_him_for_a_moment() -> None:
    one = successions()
    one.doubt("a", 100.0)
    assert one.is_doubted("a", 100.0)
    assert one.is_doubted("a", 99.0), "a clock that is read a moment later"
    assert not one.is_doubted("a", 100.0 + DOUBT)
    assert not one.is_doubted("b", 100.0)
    for number in range(MOST_DOUBTED):
        one.doubt(str(number), 101.0)
    assert not one.is_doubted("a", 101.0)
    assert one.is_doubted("0", 101.0)


STEPS = st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef") | st.none()), max_size=40)


@given(STEPS, st.sets(st.sampled_from("abcdef")), st.integers(1, 4))
def test_whatever_happens_it_is_bounded_and_what_is_live_is_known(
    steps: list[tuple[str, str | None]], live: set[str], most: int
) -> None:
    one = successions(*live, most=most)
    for old, new in steps:
        if new is None:
            one.admit(old)
        else:
            one.replace(old, new)
        assert len(one) <= 6
        assert one._after.keys() <= one._admitted.keys()
        assert all(map(one.knows, live))
        for digest in "abcdef":
            line = one.session_of(digest)
            assert len(set(line)) == len(line)
            assert (digest in line) == (digest in line[:1])
