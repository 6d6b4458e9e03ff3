"""Which policies hold, what is refused when they load, and which connections are held."""

from __future__ import annotations

import pytest

from tests.policy.texts import errors, loaded, policy, warnings
from wsguard.policy.holding import hint, recorder, terms, why_not
from wsguard.policy.model import WebSocketPolicy
from wsguard.policy.model_hold import BackendLoss

GRAPHQL = "backendLoss: Hold\nhold: {protocol: graphql-ws, replay: {messages: 5}}"
CUSTOM = "backendLoss: Hold\nhold: {protocol: custom, hint: x}"
REPLAYING = "hold: {protocol: custom, hint: x, replay: {messages: 5, jsonPath: a.b, values: [s]}}"


def one(spec: str) -> WebSocketPolicy:
    result = loaded(policy(spec))
    assert result.policy_set is not None, [str(each) for each in result.errors]
    return result.policy_set.policies[0]


SOUND = [
    "backendLoss: Close",
    GRAPHQL,
    f"{GRAPHQL}\nlimits: {{subprotocols: [graphql-transport-ws]}}",
    CUSTOM,
    f"{CUSTOM}\nlimits: {{subprotocols: [chat.v1, chat.v2]}}",
    f"backendLoss: Hold\n{REPLAYING}",
    "backendLoss: Hold\nhold: {protocol: custom, hint: x, buffer: 1Mi, giveUpAfter: 5m}",
]


@pytest.mark.parametrize("spec", SOUND)
def test_sound(spec: str) -> None:
    assert warnings(policy(spec)) == []


def test_off_by_default() -> None:
    spec = one("").spec
    assert (spec.backend_loss, spec.hold) == (BackendLoss.CLOSE, None)


REFUSED = [
    ("backendLoss: Hold", "a.yaml:5:16: error: Hold needs `hold`"),
    ("backendLoss: Keep", "expected Close or Hold"),
    ("hold: {protocol: custom, hint: x}", "a.yaml:5:9: error: without effect: backendLoss is Close"),
    (
        "backendLoss: Hold\nhold: {protocol: mqtt}",
        "a.yaml:6:20: error: mqtt cannot be held: the broker keeps a session for each connection; "
        "expected custom or graphql-ws",
    ),
    ("backendLoss: Hold\nhold: {protocol: mqtt5}", "mqtt5 cannot be held"),
    ("backendLoss: Hold\nhold: {protocol: SignalR}", "SignalR cannot be held: the connection's id"),
    ("backendLoss: Hold\nhold: {protocol: socket.io}", "socket.io cannot be held"),
    ("backendLoss: Hold\nhold: {protocol: graphql}", "did you mean graphql-ws?"),
    ("backendLoss: Hold\nhold: {protocol: wibble}", "nothing else is known to bear another backend"),
    ("backendLoss: Hold\nhold: {protocol: custom}", 'a.yaml:6:9: error: "hint" is missing'),
    ("backendLoss: Hold\nhold: {protocol: custom, hint: ''}", "expected 1 to 4096 bytes of text"),
    (f"{CUSTOM}\nframing: Transparent", "a.yaml:7:12: error: does not go with backendLoss Hold"),
    (f"{CUSTOM}\nlimits: {{subprotocols: [chat, mqtt]}}", "a.yaml:7:33: error: mqtt cannot be held"),
    ("backendLoss: Hold\nhold: {protocol: custom, hint: x, buffer: 17Mi}", "expected a size from 1Ki to 16Mi"),
    ("backendLoss: Hold\nhold: {protocol: custom, hint: x, giveUpAfter: 0s}", "longer than 0s"),
    ("backendLoss: Hold\nhold: {protocol: custom, hint: x, replay: {messages: 5}}", '"jsonPath" is missing'),
    (
        "backendLoss: Hold\nhold: {protocol: custom, hint: x, replay: {messages: 5, jsonPath: t}}",
        '"values" is missing: which messages are safe to repeat',
    ),
    (
        "backendLoss: Hold\nhold: {protocol: custom, hint: x, replay: {messages: 0, jsonPath: t, values: [a]}}",
        "expected a number from 1 to 1000, found 0",
    ),
    (
        "backendLoss: Hold\nhold: {protocol: custom, hint: x, replay: {messages: 1, jsonPath: t., values: [a]}}",
        "expected keys with dots between them",
    ),
    ("backendLoss: Hold\nhold: {protocol: graphql-ws}", '"replay" is missing: a backend that hears no connection_init'),
    (
        "backendLoss: Hold\nhold: {protocol: graphql-ws, hint: x, replay: {messages: 1}}",
        "graphql-ws has words of its own",
    ),
    (
        "backendLoss: Hold\nhold: {protocol: graphql-ws, replay: {messages: 1, jsonPath: type, values: [subscribe]}}",
        "graphql-ws knows what is safe to repeat",
    ),
    (f"{GRAPHQL}\nlimits: {{subprotocols: [mqtt]}}", "held where graphql-transport-ws is spoken, which is not listed"),
]


@pytest.mark.parametrize(("spec", "error"), REFUSED)
def test_refused_when_it_loads(spec: str, error: str) -> None:
    found = errors(policy(spec))
    assert any(error in each for each in found), found


DANGEROUS = [
    (
        "backendLoss: Hold\nhold: {protocol: custom, hint: x, giveUpAfter: 1h}",
        "a.yaml:6:50: warning: very long: the client hears nothing",
    ),
    (
        f"{GRAPHQL}\nlimits: {{subprotocols: [graphql-transport-ws, graphql-ws]}}",
        "a.yaml:7:49: warning: connections that speak graphql-ws are not held",
    ),
]


@pytest.mark.parametrize(("spec", "warning"), DANGEROUS)
def test_warned_of(spec: str, warning: str) -> None:
    assert any(warning in each for each in warnings(policy(spec))), warnings(policy(spec))


OPENED = [
    (GRAPHQL, "graphql-transport-ws", None),
    (GRAPHQL, "", "the backend speaks no subprotocol, and graphql-transport-ws is what can be held"),
    (GRAPHQL, "graphql-ws", "the backend speaks graphql-ws, and"),
    (CUSTOM, "", None),
    (CUSTOM, "chat", "which limits.subprotocols does not list"),
    (CUSTOM, "mqtt", "mqtt cannot be held: the broker keeps a session"),
    (f"{CUSTOM}\nlimits: {{subprotocols: [chat]}}", "chat", None),
    (f"{CUSTOM}\nlimits: {{subprotocols: [chat]}}", "", None),
    ("", "", "the policy does not hold"),
]


@pytest.mark.parametrize(("spec", "subprotocol", "why"), OPENED)
def test_decided_when_it_opens(spec: str, subprotocol: str, why: str | None) -> None:
    found = why_not(one(spec), subprotocol)
    assert found == why or (why is not None and found is not None and why in found)


TERMS = [
    ("", ["chat"], None),
    (GRAPHQL, ["graphql-transport-ws"], "held when its backend is lost, if that has chosen graphql-transport-ws"),
    (GRAPHQL, [], "not held when its backend is lost: the backend speaks no subprotocol, and graphql-transport-ws"),
    (CUSTOM, ["mqtt"], "held when its backend is lost, if that has chosen no subprotocol"),
    (f"{CUSTOM}\nlimits: {{subprotocols: [a]}}", ["a"], "if that has chosen a or no subprotocol"),
]


@pytest.mark.parametrize(("spec", "offers", "said"), TERMS)
def test_what_explain_says(spec: str, offers: list[str], said: str | None) -> None:
    found = terms(one(spec), offers)
    assert found == said or (said is not None and found is not None and said in found)


def test_nothing_is_repeated_unless_the_policy_says_what() -> None:
    spec = one(CUSTOM).spec.hold
    assert spec is not None
    assert recorder(spec) is None
    assert b"x" in hint(spec)
