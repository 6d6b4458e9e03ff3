from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import pytest

from wsguard.policy.authorization import Caller, Ruling, authorize
from wsguard.policy.model import Action, Authorization
from wsguard.sessions.identity import ClientCertificate, Identity

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


def ask(spec: Authorization | None, identity: Identity | None, client_ip: IPv4Address | IPv6Address | None) -> Ruling:
    return authorize(spec, Caller(identity, client_ip))


def test_without_rules_whoever_came_this_far_may_enter() -> None:
    assert ask(None, None, None) == Ruling(True, "no authorization rules")
    assert ask(None, who(), HERE).allowed


def test_the_first_rule_that_matches_decides_and_says_so() -> None:
    spec = rules(
        deny(claim("groups", "banned"), name="banned"),
        allow(claim("groups", "ops"), name="ops"),
        allow(claim("tier", "gold", "silver")),
    )
    assert ask(spec, who(groups=["ops"]), HERE) == Ruling(True, "rule 'ops' (Allow)")
    assert ask(spec, who(groups=["ops", "banned"]), HERE) == Ruling(False, "rule 'banned' (Deny)")
    assert ask(spec, who(tier="silver"), HERE) == Ruling(True, "rule 3 (Allow)")
    assert ask(spec, who(tier="tin"), HERE) == Ruling(False, "no rule matches: defaultAction Deny")
    assert ask(spec, None, HERE) == Ruling(False, "no rule matches: defaultAction Deny")


def test_the_default_may_be_to_allow() -> None:
    assert ask(rules(deny(claim("a", "b")), default=Action.ALLOW), who(), HERE).allowed


def test_a_rule_without_principal_is_about_everyone() -> None:
    assert ask(rules(allow()), None, None).allowed
    assert not ask(rules(deny(), allow()), who(), HERE).allowed


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
    assert ask(rules(allow(claim(name, *values))), who(**{name: value}), HERE).allowed is matches


def test_a_claim_may_be_nested() -> None:
    spec = rules(allow(claim("realm_access.roles", "admin")))
    assert ask(spec, who(realm_access={"roles": ["admin"]}), HERE).allowed
    assert not ask(spec, who(realm_access={"roles": ["user"]}), HERE).allowed


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
    assert ask(rules(allow(jwt(scopes=["chat", "read"]))), who(**claims), HERE).allowed is matches


def test_the_parts_of_a_rule_are_all_needed() -> None:
    claims = [{"name": "a", "values": ["1"]}, {"name": "b", "values": ["2"]}]
    spec = rules(allow({**jwt(provider="corp", scopes=["chat"], claims=claims), **within("10.0.0.0/8")}))
    good = {"scope": "chat", "a": "1", "b": "2"}
    assert ask(spec, who(**good), HERE).allowed
    assert not ask(spec, who("partner", **good), HERE).allowed
    assert not ask(spec, who(**{**good, "b": "3"}), HERE).allowed
    assert not ask(spec, who(**{**good, "scope": ""}), HERE).allowed
    assert not ask(spec, who(**good), IPv4Address("192.0.2.1")).allowed
    assert not ask(spec, None, HERE).allowed


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
    assert ask(rules(allow(within("10.0.0.0/8", "fd00::/8"))), None, address).allowed is inside


def test_an_unknown_address_is_kept_out_by_every_network() -> None:
    spec = rules(deny(within("192.0.2.0/24")), default=Action.ALLOW)
    assert ask(spec, who(), HERE).allowed
    assert not ask(spec, who(), None).allowed


# Conditions in CEL. What the language does is for tests/policy/test_cel.py.


def test_the_condition_of_a_rule_and_its_principal_must_both_hold() -> None:
    spec = rules(allow(claim("groups", "ops"), cel="claims.tier == 'gold'"))
    assert ask(spec, who(groups=["ops"], tier="gold"), HERE).allowed
    assert not ask(spec, who(groups=["ops"], tier="tin"), HERE).allowed
    assert not ask(spec, who(groups=["dev"], tier="gold"), HERE).allowed


@pytest.mark.parametrize("default", Action)
def test_a_condition_that_cannot_be_told_lets_nobody_in_and_keeps_everybody_out(default: Action) -> None:
    allowing = rules(allow(name="gold", cel="claims.tier == 'gold'"), default=default)
    ruling = ask(allowing, who(), HERE)
    assert ruling.allowed is (default is Action.ALLOW)
    assert ruling.by == f"no rule matches: defaultAction {default.value}"
    assert ruling.unclear == """the cel of rule 'gold' cannot be told: there is no "tier\""""
    denying = rules(deny(cel="claims.tier == 'tin'"), default=default)
    assert ask(denying, who(), HERE) == Ruling(
        False, "rule 1 (Deny)", """the cel of rule 1 cannot be told: there is no "tier\""""
    )


def test_a_condition_is_not_asked_about_whom_the_rule_does_not_mean() -> None:
    spec = rules(deny(claim("groups", "guest"), cel="claims.tier == 'tin'"), default=Action.ALLOW)
    assert ask(spec, who(groups=["ops"]), HERE) == Ruling(True, "no rule matches: defaultAction Allow")


def test_every_variable_says_what_is_known_of_the_caller() -> None:
    text = """
        claims.tier == 'gold' && issuer == 'https://idp.example.test' && subject == 'ann' && source == 'cookie:session'
        && scopes == ['chat', 'read'] && request.host == 'app.example.test' && request.path == '/ws'
        && request.origin == 'https://app.example.test' && client_ip == '10.1.2.3'
        && client_cert.subject == 'CN=ann' && 'email:ann@example.test' in client_cert.sans
        && now == timestamp('1970-01-02T00:00:00Z')
        """
    caller = Caller(
        who(tier="gold", scope="read chat"),
        HERE,
        host="app.example.test",
        path="/ws",
        origin="https://app.example.test",
        certificate=ClientCertificate("CN=ann", ("email:ann@example.test",)),
        now=86_400,
    )
    assert authorize(rules(allow(cel=text)), caller) == Ruling(True, "rule 1 (Allow)")


def test_of_an_anonymous_caller_everything_is_empty() -> None:
    text = "claims == {} && issuer + subject + source + request.origin == '' && scopes == []"
    text += " && client_cert.subject == '' && client_cert.sans == []"
    assert ask(rules(allow(cel=text)), None, HERE).allowed


def test_an_address_that_nobody_vouches_for_is_in_no_condition() -> None:
    assert not ask(rules(allow(cel="client_ip != '192.0.2.1'")), who(), None).allowed
    ruling = ask(rules(deny(cel="client_ip == '192.0.2.1'"), default=Action.ALLOW), who(), None)
    assert not ruling.allowed
    assert "the client's address is not known" in ruling.detail


def test_a_path_of_bytes_that_are_no_text_can_be_asked_about() -> None:
    caller = Caller(path="/\udcff")
    assert authorize(rules(allow(cel="request.path == '/\ufffd'")), caller).allowed
