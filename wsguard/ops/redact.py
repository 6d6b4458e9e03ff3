"""What is shown of a session: enough to tell two apart, never enough to take one over or fool a terminal."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

_DIGEST_PREFIX = "sha256:"
_DIGEST_LENGTH = 16


def digest(word: str) -> str:
    """A short SHA-256 of a sid or jti: the same for the same word, on every replica."""
    whole = hashlib.sha256(word.encode("utf-8", "surrogatepass")).hexdigest()
    return _DIGEST_PREFIX + whole[:_DIGEST_LENGTH]


def is_digest(word: str) -> bool:
    """True where `word` has the form of a digest as shown."""
    return word.startswith(_DIGEST_PREFIX) and len(word) == len(_DIGEST_PREFIX) + _DIGEST_LENGTH


def printable(text: str) -> str:
    """`text` with everything escaped that does not print: controls, surrogates, bidirectional overrides."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def without_query(text: str) -> str:
    """`text` up to any `?`: an Origin that a script made up may carry what a path does."""
    return text.partition("?")[0]


def timestamp(seconds: float) -> str:
    """Seconds since the epoch in RFC 3339 form, UTC, to the millisecond."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
