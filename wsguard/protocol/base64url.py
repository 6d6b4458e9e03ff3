"""Base64url without padding (RFC 4648 §5, RFC 7515 §2), in its one canonical spelling."""

from __future__ import annotations

import base64


def decode(text: str) -> bytes:
    """The bytes that `text` spells. Raises ValueError for a spelling that no encoder would have produced.

    Python's own decoder skips characters it does not know and ignores the unused bits of the last one, so
    that many texts mean the same bytes. Whatever is keyed by a token's text must not have that many doors.
    """
    try:
        spelled = text.encode("ascii")
        decoded = base64.urlsafe_b64decode(spelled + b"=" * (-len(spelled) % 4))
    except ValueError:
        raise ValueError("not base64url") from None
    if encode(decoded) != text:
        raise ValueError("not base64url in its canonical form")
    return decoded


def encode(data: bytes) -> str:
    """`data` in base64url, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
