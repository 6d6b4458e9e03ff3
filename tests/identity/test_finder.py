from __future__ import annotations

from tests.identity.key_server import KeyServer
from tests.policy.minting import ISSUER, jwks, public_jwk
from wsguard.identity.finder import KeyFinder
from wsguard.identity.jwks import JwksCache
from wsguard.policy.keys import KeySet
from wsguard.policy.model import Algorithm, JwtProvider, LocalJwks, RemoteJwks


def provider(*, remote: str | None = None, local: str | None = None) -> JwtProvider:
    return JwtProvider(
        name="events",
        issuer=ISSUER,
        algorithms=(Algorithm.ES256,),
        remote_jwks=None if remote is None else RemoteJwks(uri=remote),
        local_jwks=None if local is None else LocalJwks(file=local),
    )


async def test_keys_of_a_file_are_those_that_hold_now(cache: JwksCache) -> None:
    held = {"a.json": KeySet.from_jwks(jwks(public_jwk("ES256")))}
    finder = KeyFinder(cache, lambda: held)
    assert await finder.keys_of(provider(local="a.json")) is held["a.json"]
    held["a.json"] = KeySet.from_jwks(jwks())
    assert await finder.keys_of(provider(local="a.json")) is held["a.json"]


async def test_published_keys_are_fetched_or_are_none(cache: JwksCache, server: KeyServer) -> None:
    finder = KeyFinder(cache, dict)
    source = provider(remote=server.uri)
    keys = await finder.keys_of(source)
    assert keys is not None
    assert keys.knows("ES256-1")
    assert await finder.keys_of(provider(remote="http://127.0.0.1:9/")) is None
