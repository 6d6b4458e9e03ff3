from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import pytest

from wsguard.policy.authorization import authorize
from wsguard.policy.model import Action, Authorization
from wsguard.sessions.identity import Identity

HERE = IPv4Address("10.1.2.3")


def who(provider: str = "corp", **claims: Any) -> Identity:
    return Identity(provider, "https://idp.example.test", "ann", "cookie:session", claims=claims)


def rules(*rules: dict[str, Any], default: Action = Action.DENY) -> Authorization:
    return Authorization.model_validate({"default_action": default, "rules": rules})


def allow(principal: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {"action": Action.ALLOW, "principal": principal, **fields}


def deny(principal: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {"action": Action.DENY, "principal": principal, **fields}


def jwt(**fields: Any) -> dict[str, Any]:
    return {"jwt": fields}


def claim(name: str, *values: str) -> dict[str, Any]:
    return jwt(claims=[{"name": name, "values": values}])


def within(*networks: str) -> dict[str, Any]:
    return {"client_cidrs": [ip_network(network) for network in networks]}


def test_without_rules_whoever_came_this_far_may_enter() -> None:
    assert authorize(None, None, None) == (True, "no authorization rules")
    assert authorize(None, who(), HERE).allowed


def test_the_first_rule_that_matches_decides_and_says_so() -> None:
    spec = rules(
        deny(claim("groups", "banned"), name="banned"),
        allow(claim("groups", "ops"), name="ops"),
        allow(claim("tier", "gold", "silver")),
    )
    assert authorize(spec, who(groups=["ops"]), HERE) == (True, "rule 'ops' (Allow)")
    assert authorize(spec, who(groups=["ops", "banned"]), HERE) == (False, "rule 'banned' (Deny)")
    assert authorize(spec, who(tier="silver"), HERE) == (True, "rule 3 (Allow)")
    assert authorize(spec, who(tier="tin"), HERE) == (False, "no rule matches: defaultAction Deny")
    assert authorize(spec, None, HERE) == (False, "no rule matches: defaultAction Deny")


def test_the_default_may_be_to_allow() -> None:
    assert authorize(rules(deny(claim("a", "b")), default=Action.ALLOW), who(), HERE).allowed


def test_a_rule_without_principal_is_about_everyone() -> None:
    assert authorize(rules(allow()), None, None).allowed
    assert not authorize(rules(deny(), allow()), who(), HERE).allowed


@pytest.mark.parametrize(
    ("name", "value", "values", "matches"),
    [
        ("groups", ["dev", "ops"], ["ops"], True),
        ("groups", ["dev"], ["ops", "dev"], True),
        ("groups", "ops", ["ops"], True),
        ("groups", ["Ops"], ["ops"], False),
        ("groups", "ops dev", ["ops"], False),
        ("groups", ["ops", {"a": 1}], ["ops"], False),
        ("groups", [["ops"]], ["ops"], False),
        ("groups", {"ops": True}, ["ops"], False),
        ("groups", None, ["None"], False),
        ("groups", [], ["ops"], False),
        ("email_verified", True, ["true"], True),
        ("email_verified", True, ["True"], False),
        ("level", 3, ["3"], True),
        ("realm.roles", {}, ["admin"], False),
    ],
)
def test_a_claim_matches_by_any_of_its_values(name: str, value: Any, values: list[str], matches: bool) -> None:
    assert authorize(rules(allow(claim(name, *values))), who(**{name: value}), HERE).allowed is matches


def test_a_claim_may_be_nested() -> None:
    spec = rules(allow(claim("realm_access.roles", "admin")))
    assert authorize(spec, who(realm_access={"roles": ["admin"]}), HERE).allowed
    assert not authorize(spec, who(realm_access={"roles": ["user"]}), HERE).allowed


@pytest.mark.parametrize(
    ("claims", "matches"),
    [
        ({"scope": "chat read"}, True),
        ({"scope": "read  chat"}, True),
        ({"scope": "chat"}, False),
        ({"scope": "chatread"}, False),
        ({"scp": ["chat", "read"]}, True),
        ({"scp": "chat read"}, True),
        ({"scope": "chat", "scp": ["read", 7]}, True),
        ({"scope": {"chat": 1, "read": 1}}, False),
        ({}, False),
    ],
)
def test_every_scope_is_needed(claims: dict[str, Any], matches: bool) -> None:
    assert authorize(rules(allow(jwt(scopes=["chat", "read"]))), who(**claims), HERE).allowed is matches


def test_the_parts_of_a_rule_are_all_needed() -> None:
    claims = [{"name": "a", "values": ["1"]}, {"name": "b", "values": ["2"]}]
    spec = rules(allow({**jwt(provider="corp", scopes=["chat"], claims=claims), **within("10.0.0.0/8")}))
    good = {"scope": "chat", "a": "1", "b": "2"}
    assert authorize(spec, who(**good), HERE).allowed
    assert not authorize(spec, who("partner", **good), HERE).allowed
    assert not authorize(spec, who(**{**good, "b": "3"}), HERE).allowed
    assert not authorize(spec, who(**{**good, "scope": ""}), HERE).allowed
    assert not authorize(spec, who(**good), IPv4Address("192.0.2.1")).allowed
    assert not authorize(spec, None, HERE).allowed


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        (IPv4Address("10.255.0.1"), True),
        (IPv4Address("11.0.0.1"), False),
        (IPv6Address("fd00::1"), True),
        (IPv6Address("fe00::1"), False),
        (None, False),
    ],
)
def test_networks_of_either_family(address: IPv4Address | IPv6Address | None, inside: bool) -> None:
    assert authorize(rules(allow(within("10.0.0.0/8", "fd00::/8"))), None, address).allowed is inside


def test_an_unknown_address_is_kept_out_by_every_network() -> None:
    spec = rules(deny(within("192.0.2.0/24")), default=Action.ALLOW)
    assert authorize(spec, who(), HERE).allowed
    assert not authorize(spec, who(), None).allowed
