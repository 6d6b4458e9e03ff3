from __future__ import annotations

from typing import Any

import pytest

from wsguard.policy.claims import as_text, lookup, texts

CLAIMS: dict[str, Any] = {
    "sub": "ann",
    "https://example.com/groups": ["ops"],
    "realm_access": {"roles": ["admin"], "deep": {"er": 1}},
    "a.b": "exact",
    "a": {"b": "nested"},
    "nothing": None,
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sub", "ann"),
        ("https://example.com/groups", ["ops"]),
        ("realm_access.roles", ["admin"]),
        ("realm_access.deep.er", 1),
        ("a.b", "exact"),
        ("missing", None),
        ("sub.length", None),
        ("realm_access.roles.0", None),
        ("realm_access.", None),
        (".", None),
        ("nothing", None),
    ],
)
def test_a_name_is_a_claim_or_a_way_to_one(name: str, value: object) -> None:
    assert lookup(CLAIMS, name) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        ("", ""),
        (1, "1"),
        (-2.5, "-2.5"),
        (True, "true"),
        (False, "false"),
        (None, None),
        ([], None),
        ({}, None),
    ],
)
def test_only_scalars_are_text(value: object, text: str | None) -> None:
    assert as_text(value) == text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", ["a"]),
        (["a", 1, True], ["a", "1", "true"]),
        ([], []),
        (["a", None], None),
        ([["a"]], None),
        ({}, None),
        (None, None),
    ],
)
def test_a_list_is_text_where_all_of_it_is(value: object, expected: list[str] | None) -> None:
    assert texts(value) == expected
