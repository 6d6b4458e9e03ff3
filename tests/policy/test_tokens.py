"""Good tokens by another library are believed; every way a token can be wrong is a TokenProblem, never an exception."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.minting import (
    CLAIMS,
    HMAC_ALGORITHMS,
    ISSUER,
    NOW,
    PUBLIC_KEY_ALGORITHMS,
    SECRET,
    claims_with,
    forge,
    jwks,
    mint,
    provider,
    public_jwk,
    read_by_joserfc,
)
from wsguard.policy.keys import KeySet
from wsguard.policy.members import MAX_TEXT
from wsguard.policy.model import JwtProvider
from wsguard.policy.tokens import MAX_TOKEN, TokenProblem, UnverifiedToken, peek, still_valid, verify
from wsguard.protocol import base64url
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.identity import Identity

pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # joserfc, of the name: RFC 9864

INVALID, EXPIRED = CloseReason.CREDENTIAL_INVALID, CloseReason.CREDENTIAL_EXPIRED
SKEW = 30.0
HMAC = provider("HS256")
HMAC_KEYS = KeySet.from_secret(SECRET)


def ask(token: str, by: JwtProvider = HMAC, keys: KeySet = HMAC_KEYS, now: float = NOW) -> Identity | TokenProblem:
    return verify(token, by, keys, now, SKEW, source="cookie:session")


def identity(token: str, by: JwtProvider = HMAC, keys: KeySet = HMAC_KEYS, now: float = NOW) -> Identity:
    """Whom `token` speaks for: it must be good."""
    outcome = ask(token, by, keys, now)
    assert isinstance(outcome, Identity), outcome
    return outcome


def problem(token: str, by: JwtProvider = HMAC, keys: KeySet = HMAC_KEYS, now: float = NOW) -> TokenProblem:
    """What is wrong with `token`: something must be, and saying so must give nothing away."""
    outcome = ask(token, by, keys, now)
    assert isinstance(outcome, TokenProblem), outcome
    assert outcome.detail
    assert outcome.detail.isprintable()
    assert len(outcome.detail) < 600
    assert len(token) < 8 or token not in outcome.detail
    return outcome


# Good tokens.


@pytest.mark.parametrize("algorithm", PUBLIC_KEY_ALGORITHMS)
def test_tokens_of_another_library_are_believed(algorithm: str) -> None:
    document = jwks(public_jwk(algorithm, 2), public_jwk(algorithm))
    token = mint(algorithm)
    assert read_by_joserfc(token, algorithm, document) == CLAIMS
    assert identity(token, provider(algorithm), KeySet.from_jwks(document)).claims == CLAIMS


@pytest.mark.parametrize("algorithm", HMAC_ALGORITHMS)
def test_tokens_of_a_shared_secret_are_believed(algorithm: str) -> None:
    assert identity(mint(algorithm), provider(algorithm)).subject == "ann"


def test_the_identity_is_what_the_token_says() -> None:
    claims = claims_with(sid="s1", jti="j1", groups=["ops"])
    assert identity(forge(claims)) == Identity(
        provider="corp",
        issuer=ISSUER,
        subject="ann",
        source="cookie:session",
        sid="s1",
        jti="j1",
        issued_at=NOW - 10,
        expires_at=NOW + 600,
        claims=claims,
    )


def test_without_an_issuer_to_expect_the_provider_is_the_issuer() -> None:
    lax = provider("HS256", issuer=None)
    assert identity(forge(claims_with(iss="anyone")), lax).issuer == "corp"
    assert identity(forge(claims_with(iss=None)), lax).issuer == "corp"


@pytest.mark.parametrize("audience", ["chat", ["chat"], ["other", "chat"]])
def test_one_audience_of_several_is_enough(audience: Any) -> None:
    assert identity(forge(claims_with(aud=audience)))


def test_without_an_audience_to_expect_any_will_do() -> None:
    by = provider("HS256", audiences=None)
    assert identity(forge(claims_with(aud="other")), by)
    assert identity(forge(claims_with(aud=None)), by)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "HS256", "jku": "https://evil.test/jwks", "x5u": "https://evil.test/x5u"},
        {"alg": "HS256", "jwk": {"kty": "oct", "k": "AAAA"}, "x5c": ["AAAA"], "x5t": "AAAA"},
        {"alg": "HS256", "typ": "at+jwt"},
        {"alg": "HS256", "kid": "../../dev/null", "cty": "JWT"},
    ],
    ids=str,
)
def test_what_a_header_points_to_is_never_looked_at(header: dict[str, Any]) -> None:
    assert identity(forge(CLAIMS, header))
    assert isinstance(ask(forge(CLAIMS, header, secret=b"\0" * 32)), TokenProblem)


def test_dates_may_have_fractions() -> None:
    assert identity(forge(claims_with(exp=NOW + 0.5, nbf=0, iat=NOW - 0.5))).expires_at == NOW + 0.5


# Signatures and keys.


def test_no_token_goes_unsigned() -> None:
    header, payload = (base64url.encode(json.dumps(part).encode()) for part in ({"alg": "none"}, CLAIMS))
    for token in (f"{header}.{payload}.", f"{header}.{payload}", f"{header}.{payload}.AAAA"):
        assert problem(token).reason is INVALID
    for name in ("none", "None", "NONE", "nOnE"):
        assert "is not one of provider corp's algorithms" in problem(forge(CLAIMS, {"alg": name})).detail


def test_a_public_key_is_no_hmac_secret() -> None:
    """RFC 8725 §2.1: HS256 with the RSA public key, which everyone has, as the secret, in every form it may take."""
    document = jwks(public_jwk("RS256"))
    by, keys = provider("RS256"), KeySet.from_jwks(document)
    assert identity(mint("RS256"), by, keys)
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = keys.keys[0]._material
    forms = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        base64url.decode(public_jwk("RS256")["n"]),
        document,
    ]
    for secret in forms:
        for kid in ({}, {"kid": "RS256-1"}):
            token = forge(CLAIMS, {"alg": "HS256", **kid}, secret)
            assert "is not one of" in problem(token, by, keys).detail
            # Nor where a careless policy would allow it: the key itself does not fit.
            careless = by.model_copy(update={"algorithms": (*by.algorithms, *HMAC.algorithms)})
            assert "has no key for HS256" in problem(token, careless, keys).detail


@pytest.mark.parametrize(
    ("signed_with", "key_for"),
    [("RS256", "ES256"), ("ES256", "RS256"), ("EdDSA", "ES256"), ("ES384", "ES256"), ("HS256", "EdDSA")],
)
def test_a_key_verifies_no_other_algorithm(signed_with: str, key_for: str) -> None:
    keys = KeySet.from_jwks(jwks(public_jwk(key_for, kid="k")))
    both = provider(key_for).model_copy(
        update={"algorithms": (*provider(key_for).algorithms, *provider(signed_with).algorithms)}
    )
    assert f"has no key for {signed_with}" in problem(mint(signed_with, kid="k"), both, keys).detail


def test_an_algorithm_that_fits_the_key_but_not_the_policy_is_refused() -> None:
    keys = KeySet.from_jwks(jwks(public_jwk("RS256")))
    assert "alg 'PS256' is not one of" in problem(mint("PS256", kid="RS256-1"), provider("RS256"), keys).detail
    narrowed = KeySet.from_jwks(jwks(public_jwk("RS256", alg="RS512")))
    assert problem(mint("RS256"), provider("RS256", "RS512"), narrowed).reason is INVALID


def test_kid_chooses_the_key() -> None:
    by = provider("RS256")
    keys = KeySet.from_jwks(jwks(public_jwk("RS256", 1), public_jwk("RS256", 2)))
    assert identity(mint("RS256", number=2), by, keys)
    assert identity(mint("RS256", number=2, kid=None), by, keys), "without a kid every key is tried"
    wrong = problem(mint("RS256", number=2, kid="RS256-1"), by, keys)
    assert (wrong.detail, wrong.unknown_key) == ("the signature is by no key of provider corp", False)
    unknown = problem(mint("RS256", kid="new"), by, keys)
    assert (unknown.detail, unknown.unknown_key) == ("provider corp has no key for RS256 and kid 'new'", True)
    stranger = problem(mint("RS256", number=3, kid=None), by, keys)
    assert stranger.unknown_key, "it may be by a key that is yet to be fetched"


def test_two_keys_of_one_kid_are_both_tried() -> None:
    keys = KeySet.from_jwks(jwks(public_jwk("RS256", 1, kid="k"), public_jwk("RS256", 2, kid="k")))
    for number in (1, 2):
        assert identity(mint("RS256", number=number, kid="k"), provider("RS256"), keys)


def test_no_keys_at_all_is_a_problem() -> None:
    nobody = problem(mint("RS256"), provider("RS256"), KeySet(()))
    assert nobody.unknown_key


@pytest.mark.parametrize("algorithm", [*PUBLIC_KEY_ALGORITHMS, "HS256"])
def test_every_changed_byte_counts(algorithm: str) -> None:
    by = provider(algorithm)
    keys = HMAC_KEYS if algorithm == "HS256" else KeySet.from_jwks(jwks(public_jwk(algorithm)))
    token = mint(algorithm)
    header, payload, signature = token.split(".")
    raw = base64url.decode(signature)
    signatures = [raw[:-1], raw + b"\0", b"\0" * len(raw), b"\0", bytes([raw[0] ^ 1]) + raw[1:], raw[::-1]]
    for changed in signatures:
        assert problem(f"{header}.{payload}.{base64url.encode(changed)}", by, keys).reason is INVALID
    other = base64url.encode(json.dumps(claims_with(sub="bob")).encode())
    assert problem(f"{header}.{other}.{signature}", by, keys).reason is INVALID


# Form.

HEADER = b'{"alg":"HS256"}'
BODY = json.dumps(CLAIMS).encode()
DEEP = b"[" * 5000 + b"]" * 5000


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("", "not three parts"),
        (".", "not three parts"),
        ("..", "not three parts"),
        ("a.b", "not three parts"),
        ("a.b.c.d.e", "not three parts"),
        ("null", "not three parts"),
        ("a.b.c", "not base64url"),
        (forge(CLAIMS) + "=", "signature is not base64url"),
        (forge(CLAIMS) + "\n", "signature is not base64url"),
        (" " + forge(CLAIMS), "header is not base64url"),
        (forge(CLAIMS).replace(".", "=.", 1), "header is not base64url"),
        ("é.é.é", "not base64url"),
        ("\ud800.a.a", "not base64url"),
        (forge(CLAIMS) + "A" * MAX_TOKEN, f"more than {MAX_TOKEN} characters"),
        ("." * (MAX_TOKEN + 1), f"more than {MAX_TOKEN} characters"),
        (forge(BODY, b"[]"), "header is not a JSON object"),
        (forge(BODY, b"{"), "header is not JSON"),
        (forge(BODY, b"\xff"), "header is not UTF-8"),
        (forge(BODY, b"{}"), "has no alg"),
        (forge(BODY, b'{"alg":null}'), "alg is not a string"),
        (forge(BODY, b'{"alg":["HS256"]}'), "alg is not a string"),
        (forge(BODY, b'{"alg":""}'), "alg is empty"),
        (forge(BODY, b'{"alg":"hs256"}'), "alg 'hs256' is not one of"),
        (forge(BODY, b'{"alg":"' + b"x" * 1000 + b'"}'), "xxx…' is not one of"),
        (forge(BODY, b'{"alg":"none","alg":"HS256"}'), "header is a name occurs twice"),
        (forge(BODY, b'{"alg":"HS256","kid":"a","kid":"b"}'), "occurs twice"),
        (forge(BODY, b'{"alg":"HS256","kid":1}'), "kid is not a string"),
        (forge(BODY, b'{"alg":"HS256","kid":"a\\u0000b"}'), "kid has unprintable"),
        (forge(BODY, b'{"alg":"HS256","kid":"' + b"k" * (MAX_TEXT + 1) + b'"}'), "kid is empty or has more"),
        (forge(BODY, b'{"alg":"HS256","crit":["exp"],"exp":1}'), "has crit"),
        (forge(BODY, b'{"alg":"HS256","crit":[]}'), "has crit"),
        (forge(BODY, b'{"alg":"HS256","crit":["b64"],"b64":false}'), "has crit"),
        (forge(BODY, b'{"alg":"HS256","b64":false}'), "has b64"),
        (forge(BODY, b'{"alg":"HS256","typ":"logout+jwt"}'), "tells of an event"),
        (forge(BODY, b'{"alg":"HS256","typ":"application/SECEVENT+JWT"}'), "tells of an event"),
        (forge(BODY, b'{"alg":"HS256","typ":7}'), "typ is not a string"),
        (forge(b"", HEADER), "not three parts"),
        (forge(b"null", HEADER), "payload is not a JSON object"),
        (forge(b'"sub"', HEADER), "payload is not a JSON object"),
        (forge(BODY[:-1], HEADER), "payload is not JSON"),
        (forge(BODY[:-1] + b',"sub":"bob"}', HEADER), "occurs twice"),
        (forge(b'{"a":' + DEEP[3000:-3000] + b"}", HEADER), "nested too deeply"),
        (forge(DEEP[2500:-2500], HEADER), "nested too deeply"),
        (forge(BODY, b'{"alg":' + DEEP[3000:-3000] + b"}"), "nested too deeply"),
        (forge(BODY[:-1] + b',"n":' + b"9" * 5000 + b"}", HEADER), "out of range"),
        (forge(BODY[:-1] + b',"n":"\\ud800"}', HEADER), "lone surrogate"),
        (forge(BODY.decode().encode("utf-16"), HEADER), "payload is not UTF-8"),
    ],
    ids=lambda value: value[-20:] if isinstance(value, str) else None,
)
def test_a_malformed_token_is_a_problem(token: str, why: str) -> None:
    found = problem(token)
    assert found.reason is INVALID
    assert why in found.detail


def test_unused_bits_of_base64_are_no_second_spelling() -> None:
    token = mint("HS256", kid=None)
    assert len(token.rpartition(".")[2]) % 4 == 3, "the last character has two bits that mean nothing"
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]
    assert identity(token)
    assert "canonical" in problem(twin).detail


# Claims.


def raw_claim(name: str, value: str) -> bytes:
    """Good claims, one of them as this JSON text."""
    rest = json.dumps(claims_with(**{name: None}))
    return f'{rest[:-1]}, "{name}": {value}}}'.encode()


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "value",
    ["true", '"1900000000"', "null", "[]", "{}", "NaN", "Infinity", "1e999", "1e300", "-1", "-1e300", "1" + "0" * 400,
     "9" * 5000, "253370764800", "253370764800.5"],
    ids=lambda value: value[:12],
)  # fmt: skip
def test_a_time_that_is_no_date_is_refused(name: str, value: str) -> None:
    assert problem(forge(raw_claim(name, value))).reason is INVALID


def test_a_token_without_exp_is_refused() -> None:
    assert "no exp" in problem(forge(claims_with(exp=None))).detail


def test_the_cut_comes_at_exp_and_skew_at_the_door_as_later() -> None:
    token = forge(claims_with(exp=NOW))
    who = identity(token, now=NOW + SKEW - 0.001)
    assert still_valid(who, NOW + SKEW - 0.001, SKEW)
    assert problem(token, now=NOW + SKEW).reason is EXPIRED
    assert not still_valid(who, NOW + SKEW, SKEW)
    assert problem(forge(claims_with(exp=0))).reason is EXPIRED


def test_only_a_token_with_no_other_fault_is_expired() -> None:
    old = claims_with(exp=NOW - 100)
    assert problem(forge(old)).reason is EXPIRED
    assert problem(forge(old, secret=b"x" * 32)).reason is INVALID
    assert problem(forge({**old, "iss": "https://evil.test"})).reason is INVALID
    assert problem(forge({**old, "aud": "other"})).reason is INVALID
    assert problem(forge({**old, "sub": 7})).reason is INVALID


@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_a_token_from_the_future_is_refused(name: str) -> None:
    assert identity(forge(claims_with(**{name: NOW + SKEW})))
    early = problem(forge(claims_with(**{name: NOW + SKEW + 1})))
    assert early.reason is INVALID
    assert name in early.detail
    who = identity(forge(claims_with(**{name: NOW})))
    assert not still_valid(who, NOW - SKEW - 1, SKEW), "the clock was set back"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("iss", ["null", "7", "[]", '""', '"https://idp.example.test/"', '"HTTPS://idp.example.test"',
                 '["https://idp.example.test"]']),
        ("aud", ["null", "7", "{}", "[]", '"Chat"', '"chat "', '[["chat"]]', '["chat", 7]', '{"chat": 1}', '"cha"']),
        ("sub", ["null", "7", "true", '""', "[]", '["ann"]', '"a\\nb"', '"a\\u0000"', '"\\u001b[2J"', '"a\\u0085"',
                 '"a\\u2028b"', '"\\u202ea"', '"\\ud800"', '"' + "a" * (MAX_TEXT + 1) + '"']),
        ("sid", ["null", "7", '""', "[]", '"a\\rb"', '"' + "a" * (MAX_TEXT + 1) + '"']),
        ("jti", ["null", "7", '""', "{}", '"a\\u007fb"']),
        ("events", ['{"http://schemas.openid.net/event/backchannel-logout": {}}']),
    ],
)  # fmt: skip
def test_a_claim_of_the_wrong_kind_is_refused(name: str, values: list[str]) -> None:
    for value in values:
        found = problem(forge(raw_claim(name, value)))
        assert found.reason is INVALID
        assert name in found.detail or "surrogate" in found.detail


@pytest.mark.parametrize("name", ["iss", "aud", "sub"])
def test_a_claim_that_is_needed_is_missed(name: str) -> None:
    assert name in problem(forge(claims_with(**{name: None}))).detail


def test_a_subject_may_be_long_and_in_any_script() -> None:
    for subject in ("a" * MAX_TEXT, "Zoë", "李雷", "spiffe://example.test/ns/a/sa/b", "a b"):
        assert identity(forge(claims_with(sub=subject))).subject == subject


def test_a_detail_says_what_was_found_and_what_was_expected() -> None:
    assert problem(forge(claims_with(iss="https://idp.example.test/"))).detail == (
        "iss is 'https://idp.example.test/', provider corp expects 'https://idp.example.test'"
    )
    assert problem(forge(claims_with(aud=["web", "mail"]))).detail == (
        "aud is 'web', 'mail', provider corp expects 'chat'"
    )


def test_nothing_that_is_shown_holds_the_token_or_who_it_is_for() -> None:
    token = forge(claims_with(sub="secret-subject", sid="secret-session", exp=NOW - 1000))
    found = problem(token)
    peeked = peek(token)
    assert isinstance(peeked, UnverifiedToken)
    for text in (found.detail, repr(found), repr(peeked)):
        assert "secret" not in text
        assert token.rpartition(".")[2] not in text


def test_peek_reads_without_believing() -> None:
    peeked = peek(forge({"iss": "https://evil.test"}, {"alg": "none", "kid": "k"}, secret=b"x"))
    assert isinstance(peeked, UnverifiedToken)
    assert (peeked.algorithm, peeked.key_id, peeked.issuer) == ("none", "k", "https://evil.test")
    nobody = peek(forge({"iss": 7}))
    assert isinstance(nobody, UnverifiedToken)
    assert nobody.issuer is None


# Any input at all.

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([ISSUER, "chat"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
CLAIM_NAMES = st.sampled_from(["iss", "aud", "sub", "sid", "jti", "exp", "nbf", "iat", "events", "x"])
HEADER_NAMES = st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jku", "jwk", "cty"])


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}"))
def test_any_text_is_a_problem(token: str) -> None:
    assert isinstance(ask(token), TokenProblem)


@given(
    st.dictionaries(CLAIM_NAMES, JSON_VALUES),
    st.dictionaries(HEADER_NAMES, JSON_VALUES),
    st.sampled_from(["HS256", "RS256", "ES256", "EdDSA"]),
)
def test_any_signed_token_is_an_identity_or_a_problem(
    claims: dict[str, Any], header: dict[str, Any], algorithm: str
) -> None:
    token = forge({**CLAIMS, **claims}, {"alg": algorithm, **header})
    keys = KeySet((*HMAC_KEYS.keys, *KeySet.from_jwks(jwks(*map(public_jwk, ("RS256", "ES256", "EdDSA")))).keys))
    every = HMAC.model_copy(update={"algorithms": (*HMAC.algorithms, *provider("RS256", "ES256", "EdDSA").algorithms)})
    outcome = ask(token, every, keys)
    if isinstance(outcome, TokenProblem):
        assert outcome.reason in (INVALID, EXPIRED)
        assert outcome.detail.isprintable()
    else:
        assert (outcome.issuer, still_valid(outcome, NOW, SKEW)) == (ISSUER, True)
