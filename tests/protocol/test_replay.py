"""What may be said again: only what a rule calls safe, all that belongs together, and no more than fits."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.streams import cut
from tests.support import wire
from wsguard.protocol.replay import MOST_BYTES, FirstMessages, Recorder, Subscriptions, is_welcome


def text(value: object) -> bytes:
    return wire.frame(wire.TEXT, value if isinstance(value, bytes) else json.dumps(value).encode())


def first(count: int = 3, path: str = "type", *values: str) -> Recorder:
    return Recorder(FirstMessages(count, path, values or ("hello", "subscribe")))


def heard(recorder: Recorder, *frames: bytes) -> list[bytes]:
    for frame in frames:
        recorder.feed(frame)
    return list(recorder.messages)


HELLO, SUBSCRIBE = text({"type": "hello"}), text({"type": "subscribe", "to": ["a", "b"]})
UNSAFE = [
    {"type": "pay"},
    {"type": ["hello"]},
    {"type": None},
    {"kind": "hello"},
    {"type": {"type": "hello"}},
    b'"hello"',
    b'{"type":"hello","type":"pay"}',
    b'{"type":"hello"} trailing',
    b"",
    b"\xff",
]


@pytest.mark.parametrize("value", UNSAFE, ids=lambda value: str(value)[:30])
def test_what_is_not_listed_is_never_repeated(value: object) -> None:
    assert heard(first(), HELLO, text(value), SUBSCRIBE) == [HELLO, SUBSCRIBE]


def test_nor_is_a_binary_message() -> None:
    assert heard(first(), wire.frame(wire.BINARY, b'{"type":"hello"}')) == []


def test_only_the_first_are_looked_at() -> None:
    recorder = first(2)
    assert heard(recorder, text({"type": "pay"}), HELLO, SUBSCRIBE) == [HELLO]
    assert recorder.is_done
    assert recorder.problem is None


def test_dots_lead_into_objects() -> None:
    nested = text({"a": {"b": "x"}})
    assert heard(first(3, "a.b", "x"), nested, text({"a.b": "x"}), text({"a": "x"})) == [nested]


@given(st.lists(st.sampled_from([1, 2, 5, 40]), max_size=80))
def test_fragments_are_repeated_as_they_came(sizes: list[int]) -> None:
    """However they arrive, and without the Ping between them."""
    parts = [
        wire.frame(wire.TEXT, b'{"type":', fin=False),
        wire.frame(wire.CONTINUATION, b"", fin=False),
        wire.frame(wire.CONTINUATION, b'"hello"}'),
    ]
    recorder = first(2)
    stream = parts[0] + wire.frame(wire.PING, b"p") + parts[1] + parts[2] + SUBSCRIBE + HELLO
    assert heard(recorder, *cut(stream, sizes)) == [b"".join(parts), SUBSCRIBE]


def test_what_was_under_way_at_the_loss_is_forgotten() -> None:
    recorder = first()
    recorder.feed(HELLO + SUBSCRIBE[:10])
    recorder.begin_anew()
    assert heard(recorder, SUBSCRIBE) == [HELLO, SUBSCRIBE]


def test_what_does_not_fit_is_a_problem() -> None:
    for frames in ([text(b"x" * MOST_BYTES)], [text({"type": "hello", "x": "x" * 30_000})] * 3):
        recorder = first(9)
        heard(recorder, *frames)
        assert recorder.is_done
        assert recorder.problem is not None
        assert "longer than 65536 bytes" in recorder.problem


def test_a_long_binary_message_is_none() -> None:
    recorder = first()
    assert heard(recorder, wire.frame(wire.BINARY, bytes(2 * MOST_BYTES)), HELLO) == [HELLO]
    assert recorder.problem is None


INIT = text({"type": "connection_init", "payload": {}})


def subscribe(name: str, query: object = "subscription { count }", **more: object) -> bytes:
    return text({"type": "subscribe", "id": name, "payload": {"query": query, **more}})


def complete(name: str) -> bytes:
    return text({"type": "complete", "id": name})


def graphql(most: int = 2) -> Recorder:
    return Recorder(Subscriptions(most))


def test_subscriptions_that_are_under_way_come_back() -> None:
    a, b, c = subscribe("a"), subscribe("b", "\n subscription B($x: Int) { b(x: $x) }"), subscribe("c")
    recorder = graphql()
    assert heard(recorder, INIT, a, b, complete("a"), c, text({"type": "pong"})) == [b, c]
    assert recorder.greeting == INIT
    assert not recorder.is_done


@pytest.mark.parametrize(
    "query", ["{ hello }", "query Q { hello }", "mutation { pay }", "fragment F on A { b } query { ...F }"]
)
def test_queries_and_mutations_are_never_repeated(query: str) -> None:
    recorder = graphql()
    assert heard(recorder, INIT, subscribe("a", query)) == []
    assert recorder.problem is None


@pytest.mark.parametrize(
    "query",
    [
        "subscription A { a } mutation B { pay }",
        "mutation B { pay } subscription A { a }",
        "subscription A { a } subscription B { b }",
        "fragment F on A { b } subscription { ...F }",
        "# subscription\nmutation { pay }",
        'mutation { pay(for: "subscription") }',
        None,
        7,
    ],
)
def test_what_cannot_be_told_from_them_is_a_problem(query: object) -> None:
    recorder = graphql()
    assert heard(recorder, INIT, subscribe("a", query)) == []
    assert recorder.problem == "a client's operation that may be a subscription cannot be told from others"


def test_too_many_at_once_are_a_problem() -> None:
    recorder = graphql()
    heard(recorder, INIT, subscribe("a"), subscribe("b"), subscribe("b"))
    assert recorder.problem is None
    recorder.feed(subscribe("c"))
    assert recorder.problem == "more than 2 subscriptions were under way at once"
    assert recorder.is_done


def test_the_first_greeting_counts() -> None:
    recorder = graphql()
    assert heard(recorder, INIT, text({"type": "connection_init"})) == []
    assert recorder.greeting == INIT
    assert first().greeting == b""


@pytest.mark.parametrize(
    ("said", "welcome"),
    [
        (b'{"type":"connection_ack"}', True),
        (b'{"type":"ping"}', None),
        (b'{"type":"pong"}', None),
        (b'{"type":"next"}', False),
        (b"hello", False),
        (None, False),
    ],
)
def test_what_answers_a_greeting(said: bytes | None, welcome: bool | None) -> None:
    assert is_welcome(said) is welcome
