"""Keys that verify tokens: which key may verify which algorithm is settled here, when the key is read.

The algorithm is never the token's choice (RFC 8725 §3.1): a key carries the algorithms that its type and
curve fit, and is asked for no other. So a public key can never serve as an HMAC secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm, get_default_algorithms
from jwt.exceptions import InvalidKeyError

from wsguard.protocol.strict_json import parse_object

if TYPE_CHECKING:
    from wsguard.policy.model import JwtProvider

MAX_DOCUMENT = 1 << 20
"""Bytes of a key set document."""

MAX_KEYS = 100
"""Keys of one set: a token without `kid` may have to be tried against each."""

MIN_SECRET = 32
"""Bytes of an HMAC secret: as many as the hash puts out (RFC 7518 §3.2). HS384 takes 48, HS512 64."""

_MIN_RSA_BITS, _MAX_RSA_BITS = 2048, 8192  # RFC 7518 §3.3; above, verifying costs the verifier too much
_MAX_MEMBER = _MAX_RSA_BITS // 6 + 2  # characters: the longest modulus in base64

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_FITTING: dict[tuple[str, str | None], tuple[str, ...]] = {
    ("RSA", None): _RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
    ("OKP", "Ed448"): ("EdDSA",),
}
# Only these are read: of a private key in the document nothing but its public half is ever in memory.
_MEMBERS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_READERS = {"RSA": RSAAlgorithm.from_jwk, "EC": ECAlgorithm.from_jwk, "OKP": OKPAlgorithm.from_jwk}
_HMAC_SIZES = {"HS256": 32, "HS384": 48, "HS512": 64}
_VERIFIERS = get_default_algorithms()


class BadKeys(Exception):
    """The document or the secret cannot be used; the message says why and quotes nothing secret."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its `kid`, or None where it has none, and the algorithms (RFC 7518 §3.1) it may verify."""

    key_id: str | None
    algorithms: frozenset[str]
    _material: Any = field(repr=False)

    def verifies(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """True where `signature` over `signed` is by this key; never for an algorithm that does not fit."""
        if algorithm not in self.algorithms:
            return False
        return bool(_VERIFIERS[algorithm].verify(signed, self._material, signature))


@dataclass(frozen=True, slots=True, eq=False)
class KeySet:
    """The keys of one provider. Compared by identity: a set read anew is another set.

    `ignored` has one sentence for each key of the document that no token can be verified with.
    """

    keys: tuple[Key, ...]
    ignored: tuple[str, ...] = ()

    @classmethod
    def from_jwks(cls, document: bytes) -> KeySet:
        """Read a JWK Set (RFC 7517 §5). Raises BadKeys where it is none.

        Keys that are of no use here (for encryption, of unknown types, RSA below 2048 bits) are ignored, as
        §5 asks. A set without any usable key is a set: it is how an issuer withdraws them all.
        """
        if len(document) > MAX_DOCUMENT:
            raise BadKeys(f"the key set has {len(document)} bytes, {MAX_DOCUMENT} at most are read")
        try:
            members = parse_object(document).get("keys")
        except ValueError as error:
            raise BadKeys(f"the key set is {error}") from None
        if not isinstance(members, list):
            raise BadKeys("the key set has no list 'keys'")
        if len(members) > MAX_KEYS:
            raise BadKeys(f"the key set has {len(members)} keys, {MAX_KEYS} at most are read")
        keys, ignored = [], []
        for number, member in enumerate(members, 1):
            try:
                keys.append(_read_key(member))
            except ValueError as error:
                ignored.append(f"key {number}: {error}")
        return cls(tuple(keys), tuple(ignored))

    @classmethod
    def from_secret(cls, secret: bytes) -> KeySet:
        """The key set of one HMAC secret. Raises BadKeys where it is short or looks like a public key.

        Printable text loses the line end that editors and `echo` leave; other bytes are taken whole.
        """
        secret = _without_line_end(secret)
        if len(secret) < MIN_SECRET:
            raise BadKeys(f"the secret has {len(secret)} bytes, {MIN_SECRET} are needed (RFC 7518 §3.2)")
        try:
            HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
        except InvalidKeyError:
            raise BadKeys("the secret is a key, a certificate or a key set, which others may have") from None
        fitting = frozenset(name for name, size in _HMAC_SIZES.items() if len(secret) >= size)
        return cls((Key(None, fitting, secret),))

    @property
    def algorithms(self) -> frozenset[str]:
        """Every algorithm that some key of the set can verify."""
        return frozenset().union(*(key.algorithms for key in self.keys))

    def knows(self, key_id: str) -> bool:
        """True where a key has this `kid`."""
        return any(key.key_id == key_id for key in self.keys)

    def candidates(self, key_id: str | None, algorithm: str) -> tuple[Key, ...]:
        """The keys to try: those of the token's `kid`, else those without any; all where it names none."""
        fitting = tuple(key for key in self.keys if algorithm in key.algorithms)
        if key_id is None:
            return fitting
        named = tuple(key for key in fitting if key.key_id == key_id)
        return named or tuple(key for key in fitting if key.key_id is None)


def key_file(provider: JwtProvider) -> str | None:
    """The file that holds the keys of `provider`; None where they are fetched."""
    return provider.local_jwks.file if provider.local_jwks is not None else provider.local_secret_file


def read_local_keys(provider: JwtProvider, document: bytes) -> KeySet:
    """What the key file of `provider` (localJWKS or localSecretFile) holds.

    Raises BadKeys also where it could verify no token of the provider, or one secret is too short for some.
    """
    wanted = {algorithm.value for algorithm in provider.algorithms}
    if provider.local_secret_file is None:
        keys = KeySet.from_jwks(document)
        if wanted.isdisjoint(keys.algorithms):
            why = "".join(f"; {sentence}" for sentence in keys.ignored)
            raise BadKeys(f"the key set has no key for {', '.join(sorted(wanted))}{why}")
        return keys
    keys = KeySet.from_secret(document)
    if missing := wanted - keys.algorithms:
        needed = max(_HMAC_SIZES[name] for name in missing)
        raise BadKeys(f"the secret is too short for {max(missing)}: {needed} bytes at least (RFC 7518 §3.2)")
    return keys


def _without_line_end(secret: bytes) -> bytes:
    line = secret.rstrip(b"\r\n")
    try:
        return line if line.decode("utf-8").isprintable() else secret
    except UnicodeDecodeError:
        return secret


def _read_key(jwk: object) -> Key:
    """One member of a key set (RFC 7517 §4). Raises ValueError with the reason why it is of no use."""
    if not isinstance(jwk, dict):
        raise ValueError("not an object")
    kind, curve, key_id = jwk.get("kty"), jwk.get("crv"), jwk.get("kid")
    if kind == "oct":
        raise ValueError("a symmetric key, which has no place in a key set: use localSecretFile")
    if not isinstance(kind, str) or kind not in _MEMBERS:
        raise ValueError("its type (kty) is not one of RSA, EC, OKP")
    if key_id is not None and not isinstance(key_id, str):
        raise ValueError("its kid is not a string")
    if kind == "RSA":
        curve = None
    if not (curve is None or isinstance(curve, str)) or (kind, curve) not in _FITTING:
        raise ValueError("its curve (crv) is not one of P-256, P-384, P-521, Ed25519, Ed448")
    _check_purpose(jwk)
    return Key(key_id, _allowed(jwk, _FITTING[kind, curve]), _public_key(kind, jwk))


def _check_purpose(jwk: dict[str, Any]) -> None:
    if jwk.get("use", "sig") != "sig":
        raise ValueError("its use is not 'sig'")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise ValueError("its key_ops do not include 'verify'")


def _allowed(jwk: dict[str, Any], fitting: tuple[str, ...]) -> frozenset[str]:
    algorithm = jwk.get("alg")
    if algorithm is None:
        return frozenset(fitting)
    if algorithm not in fitting:
        raise ValueError(f"its alg is not one of {', '.join(fitting)}, which its type and curve fit")
    return frozenset((algorithm,))


def _public_key(kind: str, jwk: dict[str, Any]) -> Any:
    members = {name: jwk.get(name) for name in _MEMBERS[kind]}
    for name, value in members.items():
        if not isinstance(value, str) or not 0 < len(value) <= _MAX_MEMBER:
            raise ValueError(f"its member {name} is missing, of a wrong type or too long")
    try:
        key = _READERS[kind]({"kty": kind, **members})
    except (InvalidKeyError, UnsupportedAlgorithm, ValueError):
        raise ValueError("its members are no valid public key") from None
    if isinstance(key, RSAPublicKey) and not _MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS:
        raise ValueError(f"it has {key.key_size} bits, {_MIN_RSA_BITS} to {_MAX_RSA_BITS} are taken")
    return key
