"""What has been logged out, remembered until no token it speaks of can still be good.

A logout does not say how long the tokens it ends live. So an entry holds for the longest token life seen so
far, never less than a day; it leaves only to make room, and only once it no longer holds. An entry for which
there is no room makes the list *overflowed*: until that entry would have lapsed, no token can be cleared, and
the judge refuses them all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Literal

from wsguard.sessions.identity import Identity

SHORTEST_RETENTION = 86_400.0
"""Seconds an entry holds at least, whatever tokens have been seen."""

CLOCK_ALLOWANCE = 3_600.0
"""Seconds an entry holds beyond the longest token life: clocks differ, and `clockSkew` prolongs a token."""

_Kind = Literal["sid", "jti", "subject", "cookie", "everyone"]
_Key = tuple[_Kind, str | None, str]
_EVERYONE: _Key = ("everyone", None, "")


class DenyList:
    """Sessions, tokens, subjects and session cookies that were logged out. Times are seconds since the epoch.

    An `issuer` of None speaks of every issuer. At most `max_entries` are kept, each for `retention` seconds at
    least. `is_behind` is set while logouts may have happened elsewhere that are not in here and no credential is to
    be cleared without them; the judge then refuses as it does when the list has overflowed.
    """

    def __init__(self, max_entries: int = 100_000, retention: float = SHORTEST_RETENTION) -> None:
        self.is_behind = False
        self._max_entries = max_entries
        # The first moment of issue that is not denied (subjects only), and when it was denied. In order of
        # denial; an OrderedDict, because a dict that loses its head again and again is slow to find the next.
        self._entries: OrderedDict[_Key, tuple[float, float]] = OrderedDict()
        self._retention = max(retention, SHORTEST_RETENTION) + CLOCK_ALLOWANCE
        self._overflowed_at: float | None = None
        self.changes = 0
        """How many denials there were: what was learned before the last one may be outdated by it."""

    def __len__(self) -> int:
        return len(self._entries)

    def deny_sid(self, issuer: str | None, sid: str, now: float) -> None:
        """Refuse every token of the session `sid`."""
        self._deny(("sid", issuer, sid), 0.0, now)

    def deny_jti(self, issuer: str | None, jti: str, now: float) -> None:
        """Refuse the token `jti`."""
        self._deny(("jti", issuer, jti), 0.0, now)

    def deny_subject(self, issuer: str | None, subject: str, issued_before: float, now: float) -> None:
        """Refuse every token of `subject` issued before `issued_before`, and those that do not say when."""
        self._deny(("subject", issuer, subject), issued_before, now)

    def deny_cookie(self, issuer: str | None, digest: str, now: float) -> None:
        """Refuse the session cookie whose value has this `cookie_digest`."""
        self._deny(("cookie", issuer, digest), 0.0, now)

    def deny_everyone(self, issued_before: float, now: float) -> None:
        """Refuse every token issued before `issued_before`, and those that do not say when."""
        self._deny(_EVERYONE, issued_before, now)

    def denies(self, identity: Identity, now: float) -> bool:
        """True where the token behind `identity` was logged out. Its own life is taken into account first."""
        self.observe(identity, now)
        if not self._entries:
            return False
        if self._holds(_EVERYONE, now) and is_issued_before(identity, self._entries[_EVERYONE][0]):
            return True
        for issuer in (identity.issuer, None):
            if identity.sid is not None and self._holds(("sid", issuer, identity.sid), now):
                return True
            if identity.jti is not None and self._holds(("jti", issuer, identity.jti), now):
                return True
            if identity.cookie is not None and self._holds(("cookie", issuer, identity.cookie), now):
                return True
            key: _Key = ("subject", issuer, identity.subject)
            if self._holds(key, now) and is_issued_before(identity, self._entries[key][0]):
                return True
        return False

    def denies_cookie(self, digest: str, issuers: Iterable[str], now: float) -> bool:
        """True where the session cookie with this digest was logged out, outright or for one of `issuers`."""
        return any(self._holds(("cookie", issuer, digest), now) for issuer in (None, *issuers))

    def denies_unnamed(self, vouched_at: float, now: float) -> bool:
        """True where whoever was vouched for at `vouched_at`, by somebody who did not say who it is, was logged out."""
        return self._holds(_EVERYONE, now) and vouched_at < self._entries[_EVERYONE][0]

    def observe(self, identity: Identity, now: float) -> None:
        """Learn how long tokens live: every entry then holds at least as long as this one could."""
        if identity.expires_at is None:
            return
        issued_at = now if identity.issued_at is None else identity.issued_at
        self._retention = max(self._retention, identity.expires_at - issued_at + CLOCK_ALLOWANCE)

    def overflowed(self, now: float) -> bool:
        """True while something was logged out that could not be remembered: no token can be trusted."""
        return self._overflowed_at is not None and now < self._overflowed_at + self._retention

    def _deny(self, key: _Key, issued_before: float, now: float) -> None:
        self.changes += 1
        denied_at = max(now, issued_before)
        before = self._entries.pop(key, None)
        if before is not None:
            issued_before, denied_at = max(before[0], issued_before), max(before[1], denied_at)
        elif len(self._entries) >= self._max_entries:
            eldest = next(iter(self._entries), None)
            if eldest is None or self._holds(eldest, now):
                self._overflowed_at = max(denied_at, self._overflowed_at or denied_at)
                return
            del self._entries[eldest]
        self._entries[key] = (issued_before, denied_at)

    def _holds(self, key: _Key, now: float) -> bool:
        entry = self._entries.get(key)
        return entry is not None and now < entry[1] + self._retention


def is_issued_before(identity: Identity, moment: float) -> bool:
    """True where the token was issued before `moment`, or does not say when: then it is taken to be old."""
    return identity.issued_at is None or identity.issued_at < moment
