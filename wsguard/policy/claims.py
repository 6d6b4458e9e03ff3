"""How the policy language names a claim, and how a claim's value is written as text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def lookup(claims: Mapping[str, Any], name: str) -> Any:
    """The claim `name`, or None where it is missing.

    A claim of exactly this name comes first (`https://example.com/groups` has dots of its own); else dots
    lead into nested objects: `realm_access.roles`.
    """
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value


def as_text(value: Any) -> str | None:
    """A string as it is, a number or boolean as JSON writes it; None for objects, lists and null."""
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, (bool, int, float)) else None


def texts(value: Any) -> list[str] | None:
    """A claim that is one value or a list of such, as texts; None where it, or any item, has none."""
    items = [as_text(item) for item in value] if isinstance(value, list) else [as_text(value)]
    known = [item for item in items if item is not None]
    return known if len(known) == len(items) else None
