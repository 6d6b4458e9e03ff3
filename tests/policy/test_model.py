from __future__ import annotations

import pytest
from pydantic import ValidationError

from wsguard.policy.docstrings import sentences
from wsguard.policy.model import (
    DEFAULT_POLICY,
    Algorithm,
    Enforcement,
    Framing,
    GuardSpec,
    Jwt,
    MissingOrigin,
    NonWebSocket,
    OriginPattern,
    Rejection,
    RejectionMode,
    Session,
    WebSocketPolicy,
)
from wsguard.policy.model_base import Model
from wsguard.policy.origin import SAME_HOST
from wsguard.protocol.reasons import CloseReason


def test_defaults_are_those_of_the_policy_language() -> None:
    spec = DEFAULT_POLICY.spec
    assert (spec.match.hostnames, spec.match.paths) == ((), ())
    assert spec.origin.allow_origins == (SAME_HOST,)
    assert spec.origin.missing is MissingOrigin.DENY_WITH_COOKIE
    assert (spec.jwt, spec.authorization) == (None, None)
    assert spec.session == Session(max_connection_duration=86400.0, idle_timeout=None, clock_skew=30.0)
    assert (spec.framing, spec.enforcement) == (Framing.STRICT, Enforcement.ENFORCE)
    rejection = spec.rejection
    assert rejection.mode is rejection.foreign_origin is RejectionMode.ACCEPT_THEN_CLOSE
    assert (rejection.close_timeout, rejection.max_lingering, dict(rejection.codes)) == (2.0, 500, {})


def test_defaults_of_the_guard_are_those_of_the_policy_language() -> None:
    guard = GuardSpec()
    assert (str(guard.listener.address), str(guard.admin.address)) == ("127.0.0.1:8080", "127.0.0.1:9090")
    assert guard.listener.handshake_timeout == 10.0
    assert (guard.shutdown.drain_window, guard.shutdown.close_code) == (20.0, CloseReason.DRAINING.code)
    assert guard.non_web_socket is NonWebSocket.FORWARD
    assert guard.backends == ()


def test_a_token_is_looked_for_where_rfc_6750_puts_it() -> None:
    jwt = Jwt.model_validate({"providers": [{"name": "p", "algorithms": ["RS256"], "localJWKS": {"file": "k"}}]})
    (header,) = jwt.providers[0].extract_from.headers
    assert (header.name, header.value_prefix, header.forward) == ("Authorization", "Bearer ", True)


def test_what_the_backend_sees_of_a_credential() -> None:
    sources = {"cookies": ["c"], "headers": ["h"], "params": ["p"], "subprotocols": ["s."]}
    provider = {"name": "p", "algorithms": ["RS256"], "local_jwks": {"file": "k"}, "extract_from": sources}
    extract = Jwt(providers=[provider]).providers[0].extract_from
    places = (extract.cookies, extract.headers, extract.params, extract.subprotocols)
    assert [place[0].forward for place in places] == [True, True, False, False]


def test_policies_can_be_built_in_code() -> None:
    policy = WebSocketPolicy(
        metadata={"name": "p"},
        spec={
            "origin": {"allow_origins": [OriginPattern.parse("https://a.example"), "null"]},
            "session": {"idle_timeout": 0.5},
            "rejection": {"codes": {CloseReason.SESSION_EXPIRED: 4999}},
        },
    )
    assert policy.name == "p"
    assert policy.spec.session.idle_timeout == 0.5
    assert policy.spec.rejection.codes == {CloseReason.SESSION_EXPIRED: 4999}
    assert hash(policy) == hash(policy.model_copy())


def test_policies_do_not_change() -> None:
    with pytest.raises(ValidationError):
        DEFAULT_POLICY.spec.session.clock_skew = 1e9  # type: ignore[misc]


def test_a_code_of_its_own_is_one_that_may_be_sent() -> None:
    with pytest.raises(ValidationError, match="expected a close code that may be sent"):
        Rejection(codes={CloseReason.DRAINING: 5000})


def test_shared_secrets_and_public_keys_are_two_families() -> None:
    assert {algorithm.value for algorithm in Algorithm if algorithm.is_hmac} == {"HS256", "HS384", "HS512"}


def _models(model: type[Model]) -> list[type[Model]]:
    return [model, *(below for child in model.__subclasses__() for below in _models(child))]


@pytest.mark.parametrize("model", _models(Model), ids=lambda model: model.__name__)
def test_every_field_says_what_it_is(model: type[Model]) -> None:
    assert model.__doc__
    told = sentences(model)
    for name in model.model_fields:
        assert "\n" not in told[name], name
        assert told[name].endswith("."), name
