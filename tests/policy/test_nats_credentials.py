"""What `nsc` writes is read, and nothing else is."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.contracts.nats_accounts import operator_mode
from wsguard.policy.nats_credentials import read_nats_credentials

GOOD = operator_mode()[1]


def test_a_users_token_and_key_are_read() -> None:
    found = read_nats_credentials(GOOD.encode())
    assert found.token.count(".") == 2
    assert f"{found.token}\n" in GOOD
    seed = next(line for line in GOOD.splitlines() if line.startswith("SU"))
    assert found.key in base64.b32decode(f"{seed}======")
    Ed25519PrivateKey.from_private_bytes(found.key)
    assert read_nats_credentials(GOOD.replace("\n", "\r\n").encode()) == found
    assert found.token not in repr(found)


@pytest.mark.parametrize(
    "content",
    [
        "",
        GOOD.replace("BEGIN NATS USER JWT", ""),
        GOOD.replace("BEGIN USER NKEY SEED", ""),
        GOOD.replace("\nSU", "\nSA"),
        "\xff",
    ],
)
def test_what_is_none_is_refused_without_a_word_of_it(content: str) -> None:
    with pytest.raises(ValueError, match="it does not have a user's JWT and the seed of its nkey"):
        read_nats_credentials(content.encode())
