from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from tests.policy.minting import PUBLIC_KEY_ALGORITHMS, SECRET, jwks, private_key, provider, public_jwk
from wsguard.policy.keys import MAX_DOCUMENT, MAX_KEYS, BadKeys, KeySet, key_file, read_local_keys
from wsguard.protocol import base64url


def only_ignored(*keys: Any) -> str:
    """The sentence for the one key of a set that is of no use."""
    found = KeySet.from_jwks(jwks(*keys))
    assert found.keys == ()
    (sentence,) = found.ignored
    return sentence


@pytest.mark.parametrize("algorithm", PUBLIC_KEY_ALGORITHMS)
def test_a_key_is_offered_for_what_its_type_and_curve_fit(algorithm: str) -> None:
    keys = KeySet.from_jwks(jwks(public_jwk(algorithm)))
    assert keys.ignored == ()
    family = {"RS": 6, "PS": 6}.get(algorithm[:2], 1)
    assert len(keys.algorithms) == family
    assert algorithm in keys.algorithms
    assert keys.candidates(f"{algorithm}-1", algorithm)
    for other in {"HS256", "HS512", "none", "RS256", "ES256", "EdDSA"} - keys.algorithms:
        assert keys.candidates(f"{algorithm}-1", other) == ()
        assert not keys.keys[0].verifies(other, b"signed", b"signature")


def test_ed448_is_taken() -> None:
    key = OKPKey.generate_key("Ed448").as_dict(private=False)
    assert KeySet.from_jwks(jwks(key)).algorithms == {"EdDSA"}


def test_alg_narrows_a_key_to_itself() -> None:
    keys = KeySet.from_jwks(jwks(public_jwk("RS256", alg="PS384")))
    assert keys.algorithms == {"PS384"}
    assert keys.candidates(None, "RS256") == ()


def test_of_a_private_key_only_the_public_half_is_kept() -> None:
    private = private_key("RS256").as_dict(private=True)
    (key,) = KeySet.from_jwks(jwks(private)).keys
    assert not hasattr(key._material, "private_numbers")
    assert "n=" not in repr(key)


@pytest.mark.parametrize(
    ("jwk", "why"),
    [
        (OctKey.import_key(SECRET).as_dict(), "symmetric key"),
        ("key", "not an object"),
        ({}, "its type"),
        ({"kty": "XYZ"}, "its type"),
        ({"kty": ["RSA"]}, "its type"),
        (public_jwk("RS256", kid=7), "kid is not a string"),
        (public_jwk("RS256", use="enc"), "use is not 'sig'"),
        (public_jwk("RS256", use=None, key_ops=["sign"]), "key_ops"),
        (public_jwk("RS256", key_ops="verify"), "key_ops"),
        (public_jwk("RS256", alg="RSA-OAEP"), "alg is not one of"),
        (public_jwk("RS256", alg="HS256"), "alg is not one of"),
        (public_jwk("RS256", alg="ES256"), "alg is not one of"),
        (public_jwk("RS256", alg=["RS256"]), "alg is not one of"),
        (public_jwk("ES256", alg="ES512"), "alg is not one of"),
        (public_jwk("RS256", n=None), "member n"),
        (public_jwk("RS256", n=[1]), "member n"),
        (public_jwk("RS256", n=""), "member n"),
        (public_jwk("RS256", n="A" * 3000), "member n"),
        (public_jwk("RS256", n="!!"), "no valid public key"),
        (public_jwk("RS256", e="Ag"), "no valid public key"),
        (public_jwk("ES256", crv="P-384"), "no valid public key"),
        (public_jwk("ES256", crv="secp256k1"), "its curve"),
        (public_jwk("ES256", crv=["P-256"]), "its curve"),
        (public_jwk("ES256", crv=None), "its curve"),
        (public_jwk("ES256", x=public_jwk("ES256", 2)["x"]), "no valid public key"),
        (public_jwk("EdDSA", crv="X25519"), "its curve"),
        (public_jwk("EdDSA", x="AAAA"), "no valid public key"),
        (ECKey.generate_key("secp256k1").as_dict(private=False), "its curve"),
        (public_jwk("RS256", n=base64url.encode(b"\xc5" * 128)), "1024 bits"),
        (public_jwk("RS256", n=base64url.encode(b"\xc5" * 1025)), "8200 bits"),
    ],
)
def test_a_key_of_no_use_is_ignored_with_a_reason(jwk: object, why: str) -> None:
    sentence = only_ignored(jwk)
    assert sentence.startswith("key 1: ")
    assert why in sentence


def test_a_bad_key_does_not_spoil_the_good_ones() -> None:
    keys = KeySet.from_jwks(jwks(public_jwk("RS256", use="enc"), public_jwk("ES256"), {"kty": "new"}))
    assert [key.key_id for key in keys.keys] == ["ES256-1"]
    assert [sentence[:6] for sentence in keys.ignored] == ["key 1:", "key 3:"]


def test_an_empty_set_is_how_an_issuer_withdraws_all_keys() -> None:
    assert KeySet.from_jwks(b'{"keys": []}').keys == ()


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "no list 'keys'"),
        (b'{"keys": {}}', "no list 'keys'"),
        (b'{"keys": [], "keys": []}', "occurs twice"),
        (b"\xff", "not UTF-8"),
        (b'{"keys":' + b"[" * 50 + b"]" * 50 + b"}", "nested too deeply"),
        (b" " * MAX_DOCUMENT + b"{}", "bytes"),
        (jwks(*[{}] * (MAX_KEYS + 1)), "101 keys"),
    ],
)
def test_what_is_no_key_set_is_refused(document: bytes, why: str) -> None:
    with pytest.raises(BadKeys, match=why):
        KeySet.from_jwks(document)


@given(st.binary() | st.builds(jwks, st.dictionaries(st.sampled_from(["kty", "crv", "n", "e", "x", "y", "kid"]),
       st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "AQAB", "", 1, None, [], {}]))))  # fmt: skip
def test_any_document_is_a_key_set_or_bad_keys(document: bytes) -> None:
    with suppress(BadKeys):
        KeySet.from_jwks(document)


def test_candidates_are_by_kid_then_nameless_then_all() -> None:
    named, twin = public_jwk("RS256", 1, kid="a"), public_jwk("RS256", 2, kid="a")
    other, nameless = public_jwk("RS256", 3, kid="b"), public_jwk("RS256", 4, kid=None)
    keys = KeySet.from_jwks(jwks(named, twin, other, nameless, public_jwk("ES256", kid="a")))
    assert [key.key_id for key in keys.candidates("a", "RS256")] == ["a", "a"]
    assert [key.key_id for key in keys.candidates("unknown", "RS256")] == [None]
    assert [key.key_id for key in keys.candidates(None, "RS256")] == ["a", "a", "b", None]
    assert keys.knows("a")
    assert not keys.knows("unknown")


@pytest.mark.parametrize(
    ("size", "algorithms"), [(32, {"HS256"}), (48, {"HS256", "HS384"}), (64, {"HS256", "HS384", "HS512"})]
)
def test_a_secret_serves_hashes_no_longer_than_itself(size: int, algorithms: set[str]) -> None:
    keys = KeySet.from_secret(SECRET[:size])
    assert keys.algorithms == algorithms
    assert "0123" not in repr(keys)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n"])
def test_a_text_secret_loses_its_line_end(end: bytes) -> None:
    assert KeySet.from_secret(SECRET + end).keys == KeySet.from_secret(SECRET).keys


def test_a_binary_secret_is_taken_whole() -> None:
    secret = bytes(range(1, 11)) * 4
    assert secret.endswith(b"\n")
    assert KeySet.from_secret(secret).keys[0]._material == secret


def test_a_short_secret_is_refused_also_where_a_line_end_makes_it_long_enough() -> None:
    with pytest.raises(BadKeys, match="31 bytes"):
        KeySet.from_secret(SECRET[:31] + b"\n")


def public_pem(form: serialization.PublicFormat, encoding: serialization.Encoding) -> bytes:
    key = private_key("RS256")
    assert isinstance(key, RSAKey)
    return key.public_key.public_bytes(encoding, form)


@pytest.mark.parametrize(
    "secret",
    [
        public_pem(serialization.PublicFormat.SubjectPublicKeyInfo, serialization.Encoding.PEM),
        public_pem(serialization.PublicFormat.SubjectPublicKeyInfo, serialization.Encoding.DER),
        public_pem(serialization.PublicFormat.OpenSSH, serialization.Encoding.OpenSSH),
        jwks(public_jwk("RS256")),
    ],
    ids=["PEM", "DER", "OpenSSH", "JWKS"],
)
def test_what_others_have_is_no_secret(secret: bytes) -> None:
    with pytest.raises(BadKeys, match="which others may have"):
        KeySet.from_secret(secret)


def test_local_keys_must_serve_the_provider() -> None:
    rs, hs = provider("RS256", "ES256"), provider("HS256", "HS512")
    assert (key_file(rs), key_file(hs)) == ("/keys/corp", "/keys/corp")
    assert read_local_keys(rs, jwks(public_jwk("ES256"))).algorithms == {"ES256"}
    assert read_local_keys(hs, SECRET).algorithms == {"HS256", "HS384", "HS512"}
    with pytest.raises(BadKeys, match=r"no key for ES256, RS256; key 1: its use"):
        read_local_keys(rs, jwks(public_jwk("ES256", use="enc")))
    with pytest.raises(BadKeys, match="too short for HS512: 64 bytes"):
        read_local_keys(hs, SECRET[:32])
    with pytest.raises(BadKeys):
        read_local_keys(rs, SECRET)


def test_a_remote_provider_has_no_key_file() -> None:
    assert key_file(provider("RS256", remote_jwks={"uri": "https://idp.example.test/jwks"})) is None
