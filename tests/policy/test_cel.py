"""Conditions in CEL: checked when they are read, bounded, and never an exception when they are asked."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.texts import errors, loaded, policy
from wsguard.policy import cel
from wsguard.policy.cel import MAX_LENGTH, Activation, CelExpression, Unclear


def ask(text: str, **claims: Any) -> bool | Unclear:
    return CelExpression.parse(text).ask(Activation({"claims": claims, "issuer": "i", "scopes": ["chat"]}))


def complaint(text: str) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        CelExpression.parse(text)
    return str(caught.value)


# Read.


def test_two_of_the_same_text_are_equal_and_show_nothing_else() -> None:
    one, two = CelExpression.parse("issuer == 'i'"), CelExpression.parse("issuer == 'i'")
    assert one == two
    assert hash(one) == hash(two)
    assert repr(one) == """CelExpression(text="issuer == 'i'")"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("issuer == 1", "column 8 of the expression: found no matching overload for '_==_' applied to '(string, int)'"),
        ("claimz.tier == 'x'", "column 7 of the expression: undeclared reference to 'claimz.tier' (in container '')"),
        ("request.headers.size() > 0", "column 8 of the expression: undeclared reference to 'request.headers'"),
        ("true &&\n  subject == 1", "line 2, column 11 of the expression: found no matching overload"),
        ("claims.tier ==", "column 15 of the expression: Syntax error"),
        ("", "the expression: Syntax error"),
        ("issuer", "expected a condition, the expression is of type string"),
        ("claims.admin", "expected a condition, the expression is of type dyn: compare it with something"),
        ("issuer.matches('(')", "invalid regular expression: missing ): ("),
        ("(" * 40 + "true" + ")" * 40, "the expression does not compile: Expression recursion limit exceeded"),
        ("'" + "x" * MAX_LENGTH + "' == issuer", f"the expression has more than {MAX_LENGTH} characters"),
    ],
)
def test_what_is_no_condition_is_refused_with_its_place(text: str, expected: str) -> None:
    assert expected in complaint(text)


def test_every_mistake_is_named() -> None:
    assert complaint("issuer == 1 || subject == 2").count("of the expression") == 2


@pytest.mark.parametrize(
    "text",
    [
        "claims.a.map(x, x).size() > 0",
        "claims.a . /* no comment in CEL */ map(x, x) == []",
        "claims.a\n. // a comment\n map (x, x) == []",
        "'\\'' == '.map(' || claims.a.map(x, x) == []",
        r"r'\' == '' || claims.a.map(x, x) == []",
        "'''it's''' == '' || claims.a.map(x, x) == []",
    ],
)
def test_what_makes_values_of_any_size_is_not_offered(text: str) -> None:
    assert "map is not offered" in complaint(text) or "Syntax error" in complaint(text)


@pytest.mark.parametrize(
    "text",
    [
        "claims.a.exists(x, claims.b.exists(y, claims.c.exists(z, x == z)))",
        "claims.a.exists(x, [claims.b.filter(y, claims.c.all(z, y == z))] == [])",
        'claims.a.exists_one(x, claims[".exists("].all(y, claims.c.all(z, y == z)))',
    ],
)
def test_loops_nest_no_deeper_than_two(text: str) -> None:
    assert "inside more than 1 other loop" in complaint(text)


@pytest.mark.parametrize(
    "text",
    [
        "claims.orgs.exists(o, o.roles.exists(r, r == 'admin'))",
        "claims.a.exists(x, x == 1) || claims.b.all(x, x == 1) || claims.c.filter(x, x == 1).exists_one(x, true)",
        "claims[\".map(\"] == '.all(.all(.all(.all('",
        "claims.`a.map` == r'\\.map(' // .map(x)",
        "claims.map == 1",
    ],
)
def test_what_only_looks_like_it_is_read(text: str) -> None:
    assert CelExpression.parse(text).text == text


# Asked.


@pytest.mark.parametrize(
    ("text", "claims", "answer"),
    [
        ("claims.tier == 'gold'", {"tier": "gold"}, True),
        ("claims.tier == 'gold'", {"tier": 3}, False),
        ("has(claims.tier) && claims.tier == 'gold'", {}, False),
        ("claims.level >= 2", {"level": 2.5}, True),
        ("'ops' in claims.groups", {"groups": ["dev", "ops"]}, True),
        ("claims.realm_access.roles.exists(r, r.startsWith('adm'))", {"realm_access": {"roles": ["admin"]}}, True),
        ("claims['https://example.test/tier'] == 'gold'", {"https://example.test/tier": "gold"}, True),
        ("claims.admin == true && scopes.exists(s, s == 'chat')", {"admin": True}, True),
        ("claims.none == null", {"none": None}, True),
        ("claims.tier == 'gold' || issuer == 'i'", {}, True),
    ],
)
def test_a_condition_holds_or_does_not(text: str, claims: dict[str, Any], answer: bool) -> None:
    assert ask(text, **claims) is answer


@pytest.mark.parametrize(
    ("text", "claims", "why"),
    [
        ("claims.tier == 'gold'", {}, 'there is no "tier"'),
        ("claims[claims.a] == 1", {"a": "a secret"}, "a key is not there"),
        ("claims.level > 2", {"level": "a secret"}, "types that do not go together: _>_(string, int64)"),
        ("claims.level > 2", {"level": 2**70}, "a value is not what the expression takes it for"),
        ("claims.a.b == 1", {"a": "a secret"}, "a value is not what the expression takes it for"),
        ("claims.a[5] == 1", {"a": ["a secret"]}, "a value is not what the expression takes it for"),
        ("issuer.matches(claims.a)", {"a": "(a secret"}, "a value is not what the expression takes it for"),
        ("timestamp(claims.a) == timestamp(0)", {"a": "a secret"}, "a value is not what the expression takes it for"),
        ("claims.a == 'x'", {"a": "\udc80"}, "a value is not what the expression takes it for"),
        ("client_ip == 'x'", {}, "the client's address is not known"),
        ("claims.a.all(x, claims.a.all(y, x == y))", {"a": [1] * 200}, "too many steps"),
    ],
)
def test_what_cannot_be_told_is_an_answer_that_quotes_nobody(text: str, claims: dict[str, Any], why: str) -> None:
    assert ask(text, **claims) == Unclear(why)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
_EXPRESSIONS = [
    CelExpression.parse(text)
    for text in (
        "claims.a == claims.b",
        "claims.a in claims.b",
        "claims.a < 3",
        "claims.a.exists(x, x == claims.b)",
        "claims.a.filter(x, x > 1).size() == 1",
        "claims.a.b.c == 'x'",
        "string(claims.a) == 'x' || int(claims.b) == 1",
        "claims.a.matches(claims.b)",
    )
]


@given(a=_JSON, b=_JSON)
def test_whatever_a_token_says_there_is_an_answer(a: Any, b: Any) -> None:
    activation = Activation({"claims": {"a": a, "b": b}})
    for expression in _EXPRESSIONS:
        assert isinstance(expression.ask(activation), (bool, Unclear))


def test_the_costliest_claims_that_fit_a_token_cost_a_bounded_time() -> None:
    numbers = list(range(1700))  # a token has 8 KiB
    expression = CelExpression.parse(
        "claims.a.all(x, x in claims.a) && claims.a.exists(x, claims.a.exists(y, x + y < 0))"
    )
    activation = Activation({"claims": {"a": numbers}})
    started = time.process_time()
    assert expression.ask(activation) == Unclear("too many steps")
    assert time.process_time() - started < 2.0  # some 50 ms on the machine of docs/performance.md


# In a policy file.


def test_a_policy_file_is_told_the_place_of_the_value_and_the_place_in_it() -> None:
    text = "authorization:\n  rules:\n  - action: Allow\n    cel: issuer == 1\n  - {action: Deny, cel: 3}"
    assert errors(policy(text)) == [
        "a.yaml:8:12: error: column 8 of the expression: "
        "found no matching overload for '_==_' applied to '(string, int)'",
        "a.yaml:9:27: error: expected an expression, found the number 3",
    ]


def test_a_rule_with_a_condition_is_not_about_everyone() -> None:
    text = "authorization: {rules: [{action: Allow, cel: \"request.path == '/a'\"}, {action: Deny}]}"
    assert [str(problem) for problem in loaded(policy(text)).problems] == []


@pytest.fixture
def without_the_extra(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    cel._environment.cache_clear()
    yield
    cel._environment.cache_clear()


@pytest.mark.usefixtures("without_the_extra")
def test_without_the_extra_a_policy_that_uses_it_says_how_to_install_it() -> None:
    text = "authorization: {rules: [{action: Allow, cel: 'true'}]}"
    assert errors(policy(text)) == [
        'a.yaml:5:48: error: cel needs an extra that is not installed: pip install "wsguard[cel]"'
    ]
    assert errors(policy("authorization: {rules: [{action: Allow}]}")) == []
