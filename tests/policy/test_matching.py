from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsguard.policy.matching import Matcher, conflicts
from wsguard.policy.model import WebSocketPolicy
from wsguard.protocol.authority import parse_authority
from wsguard.protocol.target import read_path


def policy(name: str, hosts: Iterable[str] = (), paths: Iterable[str] = ()) -> WebSocketPolicy:
    """Paths are written `Exact /ws`, `PathPrefix /ws`, `RegularExpression /ws/.*`."""
    match: dict[str, object] = {}
    if hosts:
        match["hostnames"] = list(hosts)
    if paths:
        match["paths"] = [dict(zip(("type", "value"), path.split(" ", 1), strict=True)) for path in paths]
    return WebSocketPolicy.model_validate(
        {
            "apiVersion": "wsguard.dev/v1",
            "kind": "WebSocketPolicy",
            "metadata": {"name": name},
            "spec": {"match": match},
        }
    )


def found(policies: Iterable[WebSocketPolicy], host: str, target: str) -> str | None:
    result = Matcher(policies).find(parse_authority(host), read_path(target))
    return None if result is None else result.name


HOSTS = [
    policy("exact", ["app.example.com"]),
    policy("longer", ["*.b.example.com"]),
    policy("shorter", ["*.example.com"]),
    policy("none"),
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("app.example.com", "exact"),
        ("APP.example.com.:8443", "exact"),
        ("x.app.example.com", "shorter"),
        ("a.b.example.com", "longer"),
        ("a.a.b.example.com", "longer"),
        ("b.example.com", "shorter"),
        ("example.com", "none"),
        ("app.example.com.evil.test", "none"),
        ("127.0.0.1", "none"),
        ("[::1]", "none"),
    ],
)
def test_the_most_specific_host_wins_in_any_order(order: tuple[int, ...], host: str, name: str) -> None:
    assert found([HOSTS[index] for index in order], host, "/ws") == name


PATHS = [
    policy("root", paths=["PathPrefix /"]),
    policy("prefix", paths=["PathPrefix /rooms"]),
    policy("longer", paths=["PathPrefix /rooms/blue/"]),
    policy("pattern", paths=["RegularExpression /rooms/[a-z]+/ws"]),
    policy("exact", paths=["Exact /rooms/red/ws"]),
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(5)))[::7])
@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/", "root"),
        ("/roomsx", "root"),
        ("/Rooms", "root"),
        ("/room", "root"),
        ("/rooms", "prefix"),
        ("/rooms/", "prefix"),
        ("/rooms?x=/rooms/red/ws", "prefix"),
        ("/rooms/bluer", "prefix"),
        ("/rooms/blue", "longer"),
        ("/rooms/blue/", "longer"),
        ("/rooms/blue/x", "longer"),
        ("/rooms/blue/ws", "pattern"),
        ("/rooms/green/ws", "pattern"),
        ("/rooms/green/ws/", "prefix"),
        ("/x/rooms/green/ws", "root"),
        ("/rooms/GREEN/ws", "prefix"),
        ("/rooms/red/ws", "exact"),
        ("/rooms/%72ed/ws", "exact"),
        ("/rooms/red/ws/", "prefix"),
        ("/rooms/red/ws%20", "prefix"),
        ("/rooms/red/ws%0D", "prefix"),
    ],
)
def test_the_most_specific_path_wins_in_any_order(order: tuple[int, ...], target: str, name: str) -> None:
    assert found([PATHS[index] for index in order], "app.example.com", target) == name


def test_the_host_decides_before_the_path() -> None:
    policies = [policy("host", ["app.example.com"], ["PathPrefix /"]), policy("path", (), ["Exact /ws"])]
    assert found(policies, "app.example.com", "/ws") == "host"
    assert found(policies, "other.example.com", "/ws") == "path"


def test_a_host_that_does_not_claim_the_path_leaves_it_to_the_next() -> None:
    policies = [
        policy("exact", ["app.example.com"], ["Exact /admin"]),
        policy("wild", ["*.example.com"], ["PathPrefix /ws"]),
        policy("rest", (), ["PathPrefix /live"]),
    ]
    assert found(policies, "app.example.com", "/admin") == "exact"
    assert found(policies, "app.example.com", "/ws") == "wild"
    assert found(policies, "app.example.com", "/live") == "rest"
    assert found(policies, "app.example.com", "/other") is None


def test_a_policy_may_claim_several_hosts_and_paths() -> None:
    policies = [policy("many", ["a.example.com", "*.b.example.com"], ["Exact /ws", "PathPrefix /live"])]
    for host, target in itertools.product(["a.example.com", "x.b.example.com"], ["/ws", "/live/1"]):
        assert found(policies, host, target) == "many"
    assert found(policies, "b.example.com", "/ws") is None
    assert found(policies, "a.example.com", "/ws/1") is None
    assert found([], "a.example.com", "/ws") is None


@pytest.mark.parametrize("pattern", ["/rooms/.*", "/rooms/[^/]+"])
@pytest.mark.parametrize("escape", ["%0Ax", "x%0D%0Ax", "%0D", "%FF", "%C3%28", "%E2%80%A8", "%F0%9F%9A%80", "%7F"])
def test_no_escape_leads_past_a_pattern(pattern: str, escape: str) -> None:
    policies = [policy("strict", (), [f"RegularExpression {pattern}"]), policy("lax", (), ["PathPrefix /"])]
    assert found(policies, "a", f"/rooms/{escape}") == "strict"


def test_a_pattern_covers_the_full_path() -> None:
    policies = [policy("pattern", (), ["RegularExpression /a|/b"])]
    assert found(policies, "a", "/a") == found(policies, "a", "/b") == "pattern"
    for target in ("/ab", "/a/b", "/b/", "/a%0D"):
        assert found(policies, "a", target) is None


def test_of_two_patterns_the_longer_wins_in_any_order() -> None:
    policies = [
        policy("short", (), ["RegularExpression /rooms/.*"]),
        policy("long", (), ["RegularExpression /rooms/blue-.*"]),
    ]
    for order in (policies, policies[::-1]):
        assert conflicts(order) == []
        assert found(order, "a", "/rooms/blue-1") == "long"


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        (((), ()), ((), ()), ["PathPrefix / on every host"]),
        (((), ()), ((), ["PathPrefix /"]), ["PathPrefix / on every host"]),
        (((), ["PathPrefix /ws"]), ((), ["PathPrefix /ws/"]), ["PathPrefix /ws on every host"]),
        (((), ["Exact /ws"]), ((), ["Exact /ws"]), ["Exact /ws on every host"]),
        (
            ((), ["RegularExpression /a.*"]),
            ((), ["RegularExpression /a.*"]),
            ["RegularExpression /a.* on every host"],
        ),
        ((["a.test"], ()), (["A.test."], ()), ["PathPrefix / on a.test"]),
        ((["*.a.test"], ()), (["*.a.test"], ()), ["PathPrefix / on *.a.test"]),
        ((["bücher.test"], ()), (["xn--bcher-kva.test"], ()), ["PathPrefix / on xn--bcher-kva.test"]),
        (
            (["a.test", "b.test"], ["Exact /x", "Exact /y"]),
            (["b.test", "c.test"], ["Exact /y", "Exact /z"]),
            ["Exact /y on b.test"],
        ),
        (
            (["a.test", "b.test"], ["Exact /x"]),
            (["b.test", "a.test"], ["Exact /x"]),
            ["Exact /x on b.test", "Exact /x on a.test"],
        ),
        (((), ["Exact /ws"]), ((), ["PathPrefix /ws"]), []),
        (((), ["Exact /ws"]), ((), ["Exact /ws/"]), []),
        (((), ["Exact /ws"]), ((), ["Exact /WS"]), []),
        (((), ["PathPrefix /ws"]), ((), ["PathPrefix /ws/x"]), []),
        ((["a.test"], ()), ((), ()), []),
        ((["a.test"], ()), (["*.a.test"], ()), []),
        ((["a.test"], ()), (["b.test"], ()), []),
    ],
)
def test_two_policies_that_claim_the_same_are_a_conflict(
    first: tuple[Iterable[str], Iterable[str]], second: tuple[Iterable[str], Iterable[str]], what: list[str]
) -> None:
    one, two = policy("one", *first), policy("two", *second)
    assert conflicts([one, two]) == [(one, two, each) for each in what]


def test_a_third_policy_conflicts_with_the_first() -> None:
    one, two, three = policy("one"), policy("two"), policy("three")
    assert [(a.name, b.name) for a, b, _ in conflicts([one, two, three])] == [
        ("one", "two"),
        ("one", "three"),
    ]


def test_a_policy_does_not_conflict_with_itself() -> None:
    assert conflicts([policy("one", ["a.test", "A.test"], ["PathPrefix /ws", "PathPrefix /ws/"])]) == []


hosts = st.lists(st.sampled_from(["a.test", "b.a.test", "*.a.test", "*.b.a.test", "*.test"]), max_size=2)
paths = st.lists(
    st.sampled_from(["Exact /x", "Exact /x/y", "PathPrefix /x", "PathPrefix /", "RegularExpression /x/.*"]),
    max_size=2,
)


@given(st.lists(st.tuples(hosts, paths), max_size=5), st.randoms(use_true_random=False))
def test_without_conflicts_the_order_of_policies_means_nothing(
    matches: list[tuple[list[str], list[str]]], random: object
) -> None:
    policies = [policy(f"p{number}", *match) for number, match in enumerate(matches)]
    if conflicts(policies):
        return
    shuffled = list(policies)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for host, target in itertools.product(["a.test", "b.a.test", "c.b.a.test", "test", "z"], ["/", "/x", "/x/y", "/z"]):
        assert found(policies, host, target) == found(shuffled, host, target)
