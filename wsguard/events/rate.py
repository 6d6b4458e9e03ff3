"""How many pushed events are looked at: checking a signature costs more than asking for it does."""

from __future__ import annotations

from cachetools import LRUCache

# Many: a provider that ends a thousand sessions at once may ask for each only once.
_PER_CLIENT, _PER_CLIENT_BURST = 200.0, 1_000.0
_IN_ALL, _IN_ALL_BURST = 500.0, 2_000.0
_CLIENTS = 4_096


class _Bucket:
    __slots__ = ("filled_at", "tokens")

    def __init__(self, tokens: float, now: float) -> None:
        self.tokens = tokens
        self.filled_at = now

    def take(self, rate: float, burst: float, now: float) -> bool:
        self.tokens = min(self.tokens + (now - self.filled_at) * rate, burst)
        self.filled_at = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


class Rate:
    """A token bucket for each client, of the latest few thousand, and one for all of them together."""

    def __init__(self) -> None:
        self._clients: LRUCache[str, _Bucket] = LRUCache(_CLIENTS)
        self._all: _Bucket | None = None

    def allows(self, client: str, now: float) -> bool:
        """Whether one more of `client` may be looked at; `now` is monotonic seconds."""
        bucket = self._clients.setdefault(client, _Bucket(_PER_CLIENT_BURST, now))
        self._all = self._all or _Bucket(_IN_ALL_BURST, now)
        return bucket.take(_PER_CLIENT, _PER_CLIENT_BURST, now) and self._all.take(_IN_ALL, _IN_ALL_BURST, now)
