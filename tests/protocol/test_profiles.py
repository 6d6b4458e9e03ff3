"""Codes by client library, against what each library does with a code. The rules here are the libraries' own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from wsguard.protocol.profiles import Profile, advice_for, code_for
from wsguard.protocol.reasons import REASON_BY_TOKEN, Advice, CloseReason, is_sendable

CONTRACT = {
    4401: "credential-missing credential-invalid credential-expired",
    4403: "origin-denied host-denied handshake-token-invalid not-authorized",
    4404: "no-policy",
    4406: "subprotocol-denied",
    4408: "first-message-timeout idle-timeout",
    4410: "terminated",
    4429: "too-many-connections handshake-rate message-rate bandwidth",
    4440: "session-expired",
    4441: "logged-out session-invalid",
    4502: "backend-unreachable backend-invalid",
    4504: "backend-timeout",
    1002: "protocol-error",
    1003: "message-type-denied",
    1009: "message-too-big",
    1011: "guard-fault identity-unavailable",
    1012: "max-duration draining migrating",
    1013: "slow-consumer",
    1014: "backend-lost",
    0: "keepalive-timeout client-lost handshake-timeout client-closed backend-closed",
}
SENT = [reason for reason in CloseReason if reason.advice is not Advice.NOTHING]
STATUSES = [200, 204, 301, 302, 400, 401, 403, 404, 408, 425, 426, 429, 500, 502, 503, 504, 599, 999]
STOPS = {Advice.LOG_IN, Advice.GIVE_UP}


def test_the_default_profile_is_the_contracts_table() -> None:
    listed = {token: code for code, tokens in CONTRACT.items() for token in tokens.split()}
    assert listed == {
        token: code_for(Profile.DEFAULT, reason)
        for token, reason in REASON_BY_TOKEN.items()
        if token != "backend-refused"
    }


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (200, 4200, Advice.GIVE_UP),
        (302, 4401, Advice.LOG_IN),
        (308, 4401, Advice.LOG_IN),
        (401, 4401, Advice.LOG_IN),
        (403, 4403, Advice.GIVE_UP),
        (404, 4404, Advice.GIVE_UP),
        (429, 4429, Advice.BACK_OFF),
        (500, 4500, Advice.BACK_OFF),
        (503, 4503, Advice.BACK_OFF),
        (999, 4999, Advice.BACK_OFF),
    ],
)
def test_a_backends_refusal_is_its_status(status: int, code: int, advice: Advice) -> None:
    assert code_for(Profile.DEFAULT, CloseReason.BACKEND_REFUSED, status) == code
    assert advice_for(CloseReason.BACKEND_REFUSED, status) is advice


@pytest.mark.parametrize("profile", Profile)
def test_every_code_may_be_sent(profile: Profile) -> None:
    """RFC 6455 §7.4: by every profile, for every reason and for every status of a backend."""
    for reason in SENT:
        for status in [403] if reason is not CloseReason.BACKEND_REFUSED else STATUSES:
            assert is_sendable(code_for(profile, reason, status)), (reason, status)
    for reason in set(CloseReason) - set(SENT):
        assert code_for(profile, reason) == 0


def graphql_ws_stops(code: int) -> bool:
    """graphql-ws: fatal codes end the retries."""
    internal = 1000 <= code <= 1999 and code not in (1000, 1001, 1005, 1006, 1012, 1013, 1014)
    return internal or code in (4004, 4005, 4400, 4401, 4406, 4409, 4429, 4500)


def centrifuge_stops(code: int) -> bool:
    """Centrifuge's protocol: terminal codes."""
    return 3500 <= code <= 3999 or 4500 <= code <= 4999


def pusher_stops(code: int) -> bool:
    """Pusher's protocol: 4000-4099 "should not reconnect"; pusher-js takes what is beyond 4299 for that too."""
    return 4000 <= code <= 4099 or code >= 4300


@pytest.mark.parametrize(
    ("profile", "stops"),
    [
        (Profile.GRAPHQL_WS, graphql_ws_stops),
        (Profile.CENTRIFUGE, centrifuge_stops),
        (Profile.PUSHER, pusher_stops),
    ],
)
def test_a_final_code_stops_the_library_and_no_other_does(profile: Profile, stops: Callable[[int], bool]) -> None:
    for reason in SENT:
        for status in [None] if reason is not CloseReason.BACKEND_REFUSED else STATUSES:
            code, advice = code_for(profile, reason, status), advice_for(reason, status)
            assert stops(code) == (advice in STOPS), (reason, status, code)


def test_only_the_backends_own_refusal_has_a_status() -> None:
    for reason in SENT:
        if reason is not CloseReason.BACKEND_REFUSED:
            assert advice_for(reason, 503) is reason.advice
            assert code_for(Profile.DEFAULT, reason, 503) == reason.code
