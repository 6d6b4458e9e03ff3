from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qsl, quote, unquote_plus

import pytest
from django.conf import settings
from django.http import QueryDict
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams
from yarl import URL

from wsguard.protocol.query import erase, values


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("token=T", ["T"]),
        ("a=1&token=T&b=2", ["T"]),
        ("token=T&", ["T"]),
        ("&&token=T", ["T"]),
        ("token=", [""]),
        ("token", [""]),
        ("token=a=b", ["a=b"]),
        ("token=a+b", ["a b"]),
        ("token=a%2Bb", ["a+b"]),
        ("token=%41%2e%zz", ["A.%zz"]),
        ("token=caf%C3%A9", ["café"]),
        ("token=%FF", ["\ufffd"]),
        ("token=a%26token=b", ["a&token=b"]),
        ("%74oken=T", ["T"]),
        ("%54OKEN=T", ["T"]),
        ("TOKEN=T", ["T"]),
        ("+token=T", ["T"]),
        ("token[]=T", ["T"]),
        ("token%5B0%5D=T", ["T"]),
        (None, []),
        ("", []),
        ("a=token", []),
        ("tokens=F", []),
        ("xtoken=F", []),
        ("x.token=F", []),
        ("a=token=F", []),
        ("%2574oken=F", []),
    ],
)
def test_reads_a_parameter(query: str | None, expected: list[str]) -> None:
    assert values(query, "token") == expected


@pytest.mark.parametrize(
    "query",
    [
        "token=T&token=F",
        "token=T;token=F",  # the semicolon parts parameters, or does not
        "a=1;token=F&token=T",
        "token=T&Token=F",
        "token=T&%74oken=F",
        "token=T&+token=F",
        "token=T&token%20=F",
        "token=T&token[]=F",
        "token=T&token%5b%5d=F",
        "token=T&token[a]=F",
        "token=T&token",
        "token=T?token=F",
        "a?token=F&token=T",
        "?token=F&token=T",
    ],
)
def test_no_second_parameter_hides(query: str) -> None:
    assert len(set(values(query, "token"))) > 1
    target = erase(f"/ws?{query}", ["token"])
    assert values(target.partition("?")[2], "token") == []


@pytest.mark.parametrize(
    "other", ["access.token", "access+token", "access%2Etoken", "access[token", "access_token%00x"]
)
def test_no_second_parameter_hides_behind_what_php_makes_of_names(other: str) -> None:
    query = f"{other}=F&access_token=T"
    assert set(values(query, "access_token")) == {"F", "T"}
    assert values(query, "access.token") == values(query, "access_token")
    assert erase(f"/ws?{query}&a.b=1", ["access_token"]) == "/ws?a.b=1"


def test_of_one_piece_two_values_are_enough_to_refuse() -> None:
    assert len(values("token?" * 1000, "token")) == 2


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("/ws?token=T", "/ws"),
        ("/ws?token=T&", "/ws"),
        ("/ws?token", "/ws"),
        ("/ws?token=T&token=F", "/ws"),
        ("/ws?a=1&token=T&b=2", "/ws?a=1&b=2"),
        ("/ws?token=T&b=2", "/ws?b=2"),
        ("/ws?a=1&token=T", "/ws?a=1"),
        ("/ws?a=1&&token=T&&b=2", "/ws?a=1&&&b=2"),
        ("/ws?a=%2f%zz+%41&%74oken=T&b=?/;c", "/ws?a=%2f%zz+%41&b=?/;c"),
        ("/ws?a=1;token=T&b=2", "/ws?a=1&b=2"),
        ("/ws?token=T;b=2", "/ws"),  # to other readers all of it is the token
        ("/ws", "/ws"),
        ("/ws?", "/ws?"),
        ("/ws?a=1&", "/ws?a=1&"),
        ("/token=T", "/token=T"),
        ("/%7Eme/%41?tokens=1", "/%7Eme/%41?tokens=1"),
    ],
)
def test_erases_a_parameter_and_nothing_else(before: str, after: str) -> None:
    assert erase(before, ["token"]) == after


def test_erases_several() -> None:
    assert erase("/ws?a=1&b=2&c=3&A=4", ["a", "c"]) == "/ws?b=2"
    assert erase("/ws?a=1", []) == "/ws?a=1"


def last_of(pairs: list[tuple[str, str]]) -> str:
    return dict(pairs).get("token", "")


def first_of(pairs: list[tuple[str, str]]) -> str:
    return dict(reversed(pairs)).get("token", "")


def ampersands(query: str) -> str:
    return last_of(parse_qsl(query, keep_blank_values=True))


def semicolons(query: str) -> str:
    return last_of(parse_qsl(query.replace("&", ";"), keep_blank_values=True, separator=";"))


def first_wins(query: str) -> str:
    return first_of(parse_qsl(query, keep_blank_values=True))


def behind_the_last_question_mark(query: str) -> str:
    return ampersands(query.rpartition("?")[2])


def any_case(query: str) -> str:
    return last_of([(name.lower(), value) for name, value in parse_qsl(query, keep_blank_values=True)])


def brackets(query: str) -> str:
    return last_of([(name.partition("[")[0], value) for name, value in parse_qsl(query, keep_blank_values=True)])


def django_reads(query: str) -> str:
    if not settings.configured:
        settings.configure()
    return str(QueryDict(query, encoding="utf-8").get("token", ""))


def starlette_reads(query: str) -> str:
    return QueryParams(query).get("token", "")


def yarl_reads(query: str) -> str:
    return URL(f"/?{query}", encoded=True).query.get("token", "")


Reader = Callable[[str], str]
READERS: list[Reader] = [
    ampersands,
    semicolons,
    first_wins,
    behind_the_last_question_mark,
    any_case,
    brackets,
    django_reads,
    starlette_reads,
    yarl_reads,
]

pieces = st.sampled_from(
    [
        "token",
        "Token",
        "%74oken",
        "a",
        "=",
        "=",
        "GOOD",
        "EVIL",
        "&",
        "&",
        ";",
        "?",
        "+",
        "%20",
        "[]",
        "%5B",
        "%",
        "%26",
    ]
)
queries = st.lists(pieces, max_size=24).map("".join)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
@given(queries)
@example("token=GOOD&a=1;token=EVIL")
def test_where_the_guard_reads_one_value_no_backend_reads_another(reader: Reader, query: str) -> None:
    read = set(values(query, "token"))
    if read == {"GOOD"} or not read:
        assert reader(query) in ("", *read)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
@given(queries)
def test_what_is_erased_no_backend_reads(reader: Reader, query: str) -> None:
    left = erase(f"/ws?{query}", ["token"]).partition("?")[2]
    assert values(left, "token") == []
    assert reader(left) == ""


@given(
    st.lists(st.tuples(st.text("abc", min_size=1), st.text(max_size=6).map(quote)), max_size=6),
    st.text(max_size=8),
)
def test_an_honest_query_keeps_every_other_byte(others: list[tuple[str, str]], secret: str) -> None:
    rest = [f"{name}={value}" for name, value in others]
    token = quote(secret, safe="")
    whole = "/ws?" + "&".join([*rest[:2], f"token={token}", *rest[2:]])
    assert values(whole.partition("?")[2], "token") == [unquote_plus(token)]
    assert erase(whole, ["token"]) == ("/ws?" + "&".join(rest) if rest else "/ws")
