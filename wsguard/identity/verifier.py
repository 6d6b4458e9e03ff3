"""Credentials in, facts out: the one place where tokens, providers and keys meet.

A token that was verified is remembered by its digest, no longer than it lives and no longer than the very
keys and the very policy that vouched for it are in force. Whatever a token is, the answer is a fact; what a
missing key set leaves open is `identity-unavailable`, never an admission.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from cachetools import TLRUCache

from wsguard.identity.jwks import JwksUnavailable
from wsguard.policy import members
from wsguard.policy.credentials import Credential, Kind
from wsguard.policy.keys import KeySet, key_file
from wsguard.policy.model import JwtProvider, WebSocketPolicy
from wsguard.policy.tokens import TokenFact, TokenProblem, UnverifiedToken, peek, still_valid, verify
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.clock import Clock
from wsguard.sessions.identity import Identity, cookie_digest

MAX_REMEMBERED = 16 << 20
"""Bytes, about, of all tokens that are remembered: some nine thousand of the usual size."""

_BESIDE = 1_500  # bytes that an identity and its claims take, as objects, beside the characters of its token

# Where several providers may have issued a token, the last of these tells most: one of them could not say.
_TELLING = (CloseReason.CREDENTIAL_INVALID, CloseReason.CREDENTIAL_EXPIRED, CloseReason.IDENTITY_UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class _Verified:
    """A good token and what its goodness hangs on. `until` is in seconds since the epoch."""

    identity: Identity
    provider: JwtProvider
    keys: KeySet
    size: int
    until: float


class RemoteKeys(Protocol):
    """Who has the keys of providers with `remoteJWKS`."""

    def peek(self, provider: JwtProvider) -> KeySet | None:
        """The keys where they are at hand; else None."""
        ...

    async def get(self, provider: JwtProvider, *, besides: KeySet | None = None) -> KeySet:
        """The keys, others than `besides` where there are any. Raises JwksUnavailable."""
        ...


class TokenVerifier:
    """Verifies the tokens of handshakes. `local_keys` are the key sets of key files, by the file's name."""

    def __init__(self, jwks: RemoteKeys, local_keys: Mapping[str, KeySet], clock: Clock) -> None:
        self._jwks = jwks
        self._local_keys = local_keys
        self._clock = clock
        self._verified: TLRUCache[tuple[bytes, str, int], _Verified] = TLRUCache(
            MAX_REMEMBERED,
            ttu=lambda _key, verified, _now: verified.until,
            timer=clock.wall,
            getsizeof=lambda verified: verified.size,
        )

    async def gather(self, policy: WebSocketPolicy, credentials: Iterable[Credential]) -> tuple[TokenFact, ...]:
        """What became of each of `credentials`, in their order, under the `policy` that they were read for.

        Waits only where keys have to be fetched.
        """
        presented = tuple(credentials)
        facts = self.cached(policy, presented)
        if facts is None:
            outcomes = await asyncio.gather(*(self._ask(policy, credential) for credential in presented))
            facts = tuple(map(TokenFact, presented, outcomes))
        return facts

    def cached(self, policy: WebSocketPolicy, credentials: Iterable[Credential]) -> tuple[TokenFact, ...] | None:
        """The facts of `gather` where all keys that matter are at hand; None where it would have to wait."""
        facts = []
        for credential in credentials:
            outcome = self._recall(policy, credential) or self._decide(policy, credential)
            if outcome is None:
                return None
            facts.append(TokenFact(credential, outcome))
        return tuple(facts)

    def vouch(self, policy: WebSocketPolicy, credential: Credential) -> Identity | None:
        """Whom a token speaks for, by the keys at hand; None where that cannot be said at once."""
        facts = self.cached(policy, (credential,))
        outcome = facts[0].outcome if facts else None
        return outcome if isinstance(outcome, Identity) else None

    def _recall(self, policy: WebSocketPolicy, credential: Credential) -> Identity | None:
        """Whom a token speaks for that was verified before, by what is still in force."""
        digest, source = _digest(credential), credential.source
        for provider in _readers(policy, credential):
            try:
                known = self._verified[digest, source, id(provider)]  # its `get` looks twice
            except KeyError:
                continue
            # The entry holds the provider it was made for, so that no other can have its id.
            if known.keys is not self._keys_at_hand(provider):
                continue
            if still_valid(known.identity, self._clock.wall(), policy.spec.session.clock_skew):
                return known.identity
        return None

    def _decide(self, policy: WebSocketPolicy, credential: Credential) -> Identity | TokenProblem | None:
        """The answer by the keys at hand; None where other keys might have another one."""
        token = peek(credential.token)
        if isinstance(token, TokenProblem):
            return token
        problems = []
        for provider in _issuers(policy, credential, token):
            keys = self._keys_at_hand(provider)
            if keys is None:
                return None
            outcome = self._verify(policy, credential, token, provider, keys)
            if isinstance(outcome, Identity):
                return outcome
            if outcome.unknown_key and provider.remote_jwks is not None:
                return None
            problems.append(outcome)
        return _most_telling(problems) if problems else _nobody(token)

    async def _ask(self, policy: WebSocketPolicy, credential: Credential) -> Identity | TokenProblem:
        """The same answer, with keys fetched where that may change it."""
        token = peek(credential.token)
        if isinstance(token, TokenProblem):
            return token
        problems = []
        for provider in _issuers(policy, credential, token):
            outcome = await self._verify_waiting(policy, credential, token, provider)
            if isinstance(outcome, Identity):
                return outcome
            problems.append(outcome)
        return _most_telling(problems) if problems else _nobody(token)

    async def _verify_waiting(
        self, policy: WebSocketPolicy, credential: Credential, token: UnverifiedToken, provider: JwtProvider
    ) -> Identity | TokenProblem:
        try:
            keys = self._keys_at_hand(provider) or await self._jwks.get(provider)
            outcome = self._verify(policy, credential, token, provider, keys)
            if isinstance(outcome, Identity) or not outcome.unknown_key or provider.remote_jwks is None:
                return outcome
            newer = await self._jwks.get(provider, besides=keys)
        except JwksUnavailable as error:
            return TokenProblem(CloseReason.IDENTITY_UNAVAILABLE, str(error))
        return outcome if newer is keys else self._verify(policy, credential, token, provider, newer)

    def _verify(
        self,
        policy: WebSocketPolicy,
        credential: Credential,
        token: UnverifiedToken,
        provider: JwtProvider,
        keys: KeySet,
    ) -> Identity | TokenProblem:
        skew = policy.spec.session.clock_skew
        outcome = verify(token, provider, keys, self._clock.wall(), skew, source=credential.source)
        if isinstance(outcome, Identity) and credential.kind is Kind.COOKIE:
            outcome = replace(outcome, cookie=cookie_digest(credential.token))
        if isinstance(outcome, Identity) and outcome.expires_at is not None:
            until = outcome.expires_at + skew
            key = (_digest(credential), credential.source, id(provider))
            self._verified[key] = _Verified(outcome, provider, keys, _BESIDE + len(credential.token), until)
        return outcome

    def _keys_at_hand(self, provider: JwtProvider) -> KeySet | None:
        file = key_file(provider)
        return self._jwks.peek(provider) if file is None else self._local_keys[file]


def is_of_jwt(policy: WebSocketPolicy, credential: Credential) -> bool:
    """Whether the policy's JWT providers decide on `credential`.

    They do where nobody else reads its place; else where it is a JWT that one of them may have issued.
    """
    readers = _readers(policy, credential)
    if len(readers) == len(credential.providers):
        return True
    token = peek(credential.token) if readers else None
    if not isinstance(token, UnverifiedToken):
        return False
    return any(provider.issuer in (None, token.issuer) for provider in readers)


def _digest(credential: Credential) -> bytes:
    return hashlib.sha256(credential.token.encode("utf-8", "surrogatepass")).digest()


def _readers(policy: WebSocketPolicy, credential: Credential) -> list[JwtProvider]:
    """The providers that read the place where `credential` was found."""
    providers = policy.spec.jwt.providers if policy.spec.jwt is not None else ()
    return [provider for provider in providers if provider.name in credential.providers]


def _issuers(policy: WebSocketPolicy, credential: Credential, token: UnverifiedToken) -> list[JwtProvider]:
    """Of several readers those whose issuer the token claims to be from, else those that do not check it."""
    readers = _readers(policy, credential)
    if len(readers) == 1:
        return readers
    unchecked = [provider for provider in readers if provider.issuer is None]
    if token.issuer is None:
        return unchecked
    return [provider for provider in readers if provider.issuer == token.issuer] or unchecked


def _nobody(token: UnverifiedToken) -> TokenProblem:
    found = "no iss" if token.issuer is None else f"iss {members.quoted(token.issuer)}"
    return TokenProblem(CloseReason.CREDENTIAL_INVALID, f"{found} is of no provider that reads this place")


def _most_telling(problems: Iterable[TokenProblem]) -> TokenProblem:
    return max(problems, key=lambda problem: _TELLING.index(problem.reason))
