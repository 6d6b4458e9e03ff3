"""What an identity provider's event token must be, claim by claim."""

from __future__ import annotations

from typing import Any

import pytest

from tests.policy.event_tokens import LOGOUT, REVOKED
from tests.policy.minting import ISSUER, NOW, jwks, mint, public_jwk
from wsguard.policy.event_tokens import (
    BACKCHANNEL_LOGOUT,
    MAX_AGE,
    SESSION_REVOKED,
    BadToken,
    Told,
    read_logout_token,
    read_security_event,
)
from wsguard.policy.keys import KeySet
from wsguard.policy.model import BackChannelLogout, LocalJwks, SharedSignals
from wsguard.policy.tokens import TokenProblem, UnverifiedToken, peek, peek_event
from wsguard.sessions.logout import Logout

KEYS = KeySet.from_jwks(jwks(public_jwk("ES256")))
FILE = LocalJwks(file="keys.json")
BCL = BackChannelLogout(
    type="BackChannelLogout", issuer=ISSUER, client_ids=("web",), algorithms=("ES256",), local_jwks=FILE
).provider
SSF = SharedSignals(
    type="SharedSignals", issuer=ISSUER, audiences=("guard",), algorithms=("ES256",), local_jwks=FILE
).provider


def token(claims: dict[str, Any], typ: str | None, changes: dict[str, Any], alg: str = "ES256") -> UnverifiedToken:
    members = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    read = peek_event(mint(alg, members, typ=typ))
    assert isinstance(read, UnverifiedToken)
    return read


def logout(typ: str | None = "logout+jwt", **changes: Any) -> Told | BadToken:
    return read_logout_token(token(LOGOUT, typ, changes), BCL, KEYS, NOW)


def revoked(typ: str | None = "secevent+jwt", **changes: Any) -> Told | BadToken:
    return read_security_event(token(REVOKED, typ, changes), SSF, KEYS, NOW)


def test_a_session_is_logged_out_by_its_sid() -> None:
    assert logout() == Told("t1", (Logout("sid", "s1", ISSUER, 0.0),))
    assert logout(sub="ann") == logout(), "the session, where both are named"
    assert logout(typ=None) == logout(typ="JWT") == logout(typ="application/logout+jwt") == logout()


def test_without_a_sid_it_is_every_session_that_the_subject_had() -> None:
    assert logout(sid=None, sub="ann") == Told("t1", (Logout("subject", "ann", ISSUER, NOW),))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"nonce": "n"}, "nonce is forbidden"),
        ({"sid": None}, "neither sub nor sid"),
        ({"sid": ""}, "sid is empty"),
        ({"sid": 5}, "sid is not a string"),
        ({"jti": None}, "there is no jti"),
        ({"iat": None}, "there is no iat"),
        ({"iat": NOW - MAX_AGE - 1}, "last ten minutes"),
        ({"iat": NOW + 61}, "last ten minutes"),
        ({"exp": NOW - 61}, "has expired"),
        ({"exp": "soon"}, "exp is not a number"),
        ({"events": None}, "events is not an object"),
        ({"events": [BACKCHANNEL_LOGOUT]}, "events is not an object"),
        ({"events": {BACKCHANNEL_LOGOUT: True}}, "events has no object"),
        ({"events": {SESSION_REVOKED: {}}}, "events has no object"),
        ({"aud": "other"}, "aud is"),
        ({"aud": None}, "aud is missing"),
        ({"iss": "https://evil.test"}, "iss is"),
        ({"iss": None}, "iss is missing"),
        ({"typ": "at+jwt"}, "typ is not logout"),
        ({"typ": "secevent+jwt"}, "typ is not logout"),
    ],
)
def test_a_logout_token_that_is_wrong_is_refused(changes: dict[str, Any], why: str) -> None:
    result = logout(changes.pop("typ", "logout+jwt"), **changes)
    assert isinstance(result, BadToken)
    assert why in result.detail
    assert "s1" not in result.detail


def test_nobody_else_can_sign_one() -> None:
    forged = read_logout_token(token(LOGOUT, "logout+jwt", {}, alg="RS256"), BCL, KEYS, NOW)
    assert isinstance(forged, BadToken)
    assert forged.code == "invalid_key"
    unsigned = "eyJhbGciOiJub25lIn0.e30."
    assert isinstance(peek_event(unsigned), TokenProblem)
    other = KeySet.from_jwks(jwks(public_jwk("ES256", kid="another")))
    unknown = read_logout_token(token(LOGOUT, "logout+jwt", {}), BCL, other, NOW)
    assert isinstance(unknown, BadToken)
    assert unknown.unknown_key


def test_none_of_them_opens_a_door() -> None:
    for claims, typ in ((LOGOUT, "logout+jwt"), (REVOKED, "secevent+jwt")):
        assert isinstance(peek(mint("ES256", claims, typ=typ)), TokenProblem)


def test_a_revoked_session_or_user() -> None:
    moment = NOW - 9
    assert revoked() == Told("e1", (Logout("subject", "ann", ISSUER, moment),))
    session = {"format": "opaque", "id": "s1"}
    user = {"format": "iss_sub", "iss": ISSUER, "sub": "ann"}
    assert revoked(sub_id=session) == Told("e1", (Logout("sid", "s1", ISSUER, 0.0),))
    assert revoked(sub_id={"format": "complex", "session": session, "user": user}) == revoked(sub_id=session)
    assert revoked(sub_id={"format": "complex", "user": user}) == revoked()
    assert revoked(events={SESSION_REVOKED: {}}) == Told("e1", (Logout("subject", "ann", ISSUER, NOW),))
    late = revoked(events={SESSION_REVOKED: {"event_timestamp": NOW + 1e6}})
    assert late == revoked(events={SESSION_REVOKED: {}}), "never later than the token itself"


def test_other_events_mean_nothing_and_are_no_fault() -> None:
    verification = "https://schemas.openid.net/secevent/ssf/event-type/verification"
    stream = {"format": "opaque", "id": "stream-1"}
    assert revoked(events={verification: {"state": "x"}}, sub_id=stream) == Told("e1", ())


@pytest.mark.parametrize(
    ("changes", "code", "why"),
    [
        ({"typ": None}, "invalid_request", "typ is not secevent"),
        ({"typ": "JWT"}, "invalid_request", "typ is not secevent"),
        ({"iat": NOW + 61}, "invalid_request", "in the future"),
        ({"jti": None}, "invalid_request", "there is no jti"),
        ({"sub_id": None}, "invalid_request", "no top-level sub_id"),
        ({"sub_id": None, "sub": "ann"}, "invalid_request", "no top-level sub_id"),
        ({"sub_id": {"format": "email", "email": "a@b"}}, "invalid_request", "sub_id is neither"),
        ({"sub_id": {"format": "iss_sub", "iss": "https://other", "sub": "ann"}}, "invalid_request", "another issuer"),
        ({"sub_id": {"format": "complex"}}, "invalid_request", "neither a session nor a user"),
        ({"events": {SESSION_REVOKED: []}}, "invalid_request", "is not an object"),
        ({"aud": "web"}, "invalid_audience", "aud is"),
        ({"iss": "https://evil.test"}, "invalid_issuer", "iss is"),
    ],
)
def test_a_security_event_that_is_wrong_is_refused(changes: dict[str, Any], code: str, why: str) -> None:
    result = revoked(changes.pop("typ", "secevent+jwt"), **changes)
    assert isinstance(result, BadToken)
    assert result.code == code
    assert why in result.detail
