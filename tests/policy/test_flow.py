"""`limits` on what flows, as files say it: read, and what is wrong about it told with its place."""

from __future__ import annotations

import pytest

from tests.policy.texts import errors, loaded, policy, provider, warnings
from wsguard.policy.model import Limits, MessageType, OnExceed, Rate, Unit

WHOLE = """
limits:
  messages: {perConnection: {requests: 50, unit: Second, burst: 100}, onExceed: Throttle}
  bandwidth: {perConnection: {size: 6Mi, unit: Minute}}
  maxMessageSize: 1Mi
  messageTypes: [Text]
  slowConsumer: {maxPause: 30s, bufferLimit: 256Ki}
"""


def limits(text: str) -> Limits:
    result = loaded(policy(text))
    assert result.problems == ()
    assert result.policy_set is not None
    return result.policy_set.policies[0].spec.limits


def test_all_of_it() -> None:
    read = limits(WHOLE)
    assert read.messages is not None
    assert (read.messages.per_connection.per_second, read.messages.per_connection.at_once) == (50, 100)
    assert read.messages.on_exceed is OnExceed.THROTTLE
    assert read.bandwidth is not None
    assert (read.bandwidth.per_connection.per_second, read.bandwidth.per_connection.at_once) == (104_857.6, 6 << 20)
    assert read.bandwidth.on_exceed is OnExceed.CLOSE
    assert read.max_message_size == 1 << 20
    assert read.message_types == (MessageType.TEXT,)
    assert read.slow_consumer is not None
    assert (read.slow_consumer.max_pause, read.slow_consumer.buffer_limit) == (30, 262_144)


def test_nothing_is_limited_by_itself() -> None:
    assert limits("limits: {subprotocols: [chat]}") == Limits(subprotocols=("chat",))


@pytest.mark.parametrize(("unit", "rate"), [(Unit.SECOND, 60.0), (Unit.MINUTE, 1.0), (Unit.HOUR, 1 / 60)])
def test_a_burst_that_is_not_written_is_what_the_unit_brings(unit: Unit, rate: float) -> None:
    read = Rate(requests=60, unit=unit)
    assert (read.per_second, read.at_once) == (rate, 60)


ERRORS = [
    ("messages: {}", 'a.yaml:5:22: error: "perConnection" is missing'),
    ("messages: {perConnection: {requests: 5}}", '"unit" is missing'),
    ("messages: {perConnection: {requests: 0, unit: Second}}", "a.yaml:5:49: error: expected a number of at least 1"),
    ("messages: {perConnection: {requests: 5, unit: Second, burst: 0}}", "expected a number of at least 1"),
    ("messages: {perConnection: {requests: 5, unit: Day}}", 'expected Second or Minute or Hour, found "Day"'),
    ("messages: {perConnection: {requests: 5, unit: Hour}, onExceed: Drop}", "expected Close or Throttle"),
    ("bandwidth: {perConnection: {size: 100, unit: Second}}", "expected a size such as 8Ki or 1Mi"),
    ("bandwidth: {perConnection: {size: 0Ki, unit: Second}}", "a.yaml:5:46: error: expected a size of more than 0Ki"),
    ("maxMessageSize: 0Ki", "a.yaml:5:28: error: expected a size of more than 0Ki"),
    ("messageTypes: []", "a.yaml:5:26: error: expected at least one item"),
    ("messageTypes: [Text, Text]", "a.yaml:5:26: error: expected each type once"),
    ("messageTypes: [text]", "expected Text or Binary"),
    ("slowConsumer: {}", "a.yaml:5:26: error: expected maxPause, bufferLimit or both"),
    ("slowConsumer: {maxPause: 0s}", "expected a duration longer than 0s"),
    ("slowConsumer: {bufferLimit: 32Ki}", "a.yaml:5:40: error: expected at least 64Ki"),
]


@pytest.mark.parametrize(("text", "error"), ERRORS)
def test_what_makes_no_sense_is_an_error_with_its_place(text: str, error: str) -> None:
    (found,) = errors(policy(f"limits: {{{text}}}"))
    assert error in found


def test_a_first_message_must_fit() -> None:
    first = "{firstMessage: {jsonPath: token, maxSize: 8Ki, forward: true}}"
    (found,) = errors(policy(f"{provider(extractFrom=first)}\nlimits: {{maxMessageSize: 4Ki}}"))
    assert "a.yaml:5:" in found
    assert found.endswith("error: cut when it is passed on: limits.maxMessageSize is smaller")
    unseen = first.replace("true", "false")
    assert warnings(policy(f"{provider(extractFrom=unseen)}\nlimits: {{maxMessageSize: 4Ki}}")) == []


RATE = "perConnection: {requests: 1, unit: Second}"
WARNINGS = [
    (f"limits: {{messages: {{{RATE}}}}}", "a.yaml:5:38: warning: burst is 1: a client whose frames arrive two at a"),
    (
        "limits: {messages: {perConnection: {requests: 60, unit: Hour}, onExceed: Throttle}}",
        "a.yaml:5:38: warning: a client may be held back for 60 s",
    ),
    ("limits: {messageTypes: [Text, Binary]}", "a.yaml:5:26: warning: without effect"),
    ("limits: {slowConsumer: {maxPause: 500ms}}", "a.yaml:5:37: warning: very short"),
    ("limits: {slowConsumer: {bufferLimit: 1Mi}}", "a.yaml:5:40: warning: never reached"),
    (
        "limits: {maxMessageSize: 1Mi, bandwidth: {perConnection: {size: 64Ki, unit: Second}}}",
        "a.yaml:5:60: warning: smaller than maxMessageSize",
    ),
    ("framing: Transparent", "a.yaml:5:12: warning: Transparent: frames that break RFC 6455 reach the backend"),
]


@pytest.mark.parametrize(("spec", "warning"), WARNINGS)
def test_warns_of_what_is_legal_but_dangerous(spec: str, warning: str) -> None:
    (found,) = warnings(policy(spec))
    assert warning in found


def test_a_client_that_is_held_back_may_send_two_at_a_time() -> None:
    assert warnings(policy(f"limits: {{messages: {{{RATE}, onExceed: Throttle}}}}")) == []
