"""The members of a JSON object that names somebody: a token's claims, an identity service's answer (RFC 7519 §4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_TEXT = 1024
"""Characters of `kid`, `iss`, `sub`, `sid` and `jti`. OpenID Connect gives a subject 255, others more."""

MAX_TIME = 253_370_764_800
"""9999-01-01, in seconds since the epoch: what lies beyond is no date (1e300 is a number, after all)."""


class BadMember(ValueError):
    """A member is not what its name promises; the message names it and quotes nothing."""


def text(members: Mapping[str, Any], name: str) -> str | None:
    """A name: some characters, each of them printable, so that it breaks no log line, terminal or header.

    None where there is none. Raises BadMember.
    """
    if name not in members:
        return None
    value = members[name]
    if not isinstance(value, str):
        raise BadMember(f"{name} is not a string")
    if not 0 < len(value) <= MAX_TEXT:
        raise BadMember(f"{name} is empty or has more than {MAX_TEXT} characters")
    if not value.isprintable():
        raise BadMember(f"{name} has unprintable characters")
    return value


def time(members: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519 §2): any JSON number, but a date. None where there is none. Raises BadMember."""
    if name not in members:
        return None
    value = members[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadMember(f"{name} is not a number")
    if not 0 <= value < MAX_TIME:
        raise BadMember(f"{name} is no date between 1970 and 9999")
    return float(value)


def audiences(members: Mapping[str, Any]) -> list[str]:
    """Those whom `aud` names, which may be one string or a list. Raises BadMember."""
    value = members.get("aud", [])
    named = [value] if isinstance(value, str) else value
    if not isinstance(named, list) or not all(isinstance(item, str) for item in named):
        raise BadMember("aud is neither a string nor a list of strings")
    return named


def quoted(value: str, most: int = 100) -> str:
    """`value` as a detail quotes it, escaped, and cut where a stranger chose its length: about `most` characters."""
    escaped = repr(value[: most + 1])
    return escaped if len(escaped) <= most + 2 else f"{escaped[: most + 1]}…{escaped[-1]}"
