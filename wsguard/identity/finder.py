"""The keys of an issuer, wherever the policy file says that they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from wsguard.identity.jwks import JwksCache, JwksUnavailable
from wsguard.policy.keys import KeySet, key_file
from wsguard.policy.model import JwtProvider


class KeyFinder:
    """Fetched keys from `jwks`, others from `local_keys`, which gives those of the files that hold now."""

    def __init__(self, jwks: JwksCache, local_keys: Callable[[], Mapping[str, KeySet]]) -> None:
        self._jwks = jwks
        self._local_keys = local_keys

    async def keys_of(self, provider: JwtProvider, besides: KeySet | None = None) -> KeySet | None:
        """The keys of `provider`, where they can be had others than `besides`; None where none can be had now."""
        file = key_file(provider)
        if file is not None:
            return self._local_keys()[file]
        try:
            return await self._jwks.get(provider, besides=besides)
        except JwksUnavailable:
            return None
