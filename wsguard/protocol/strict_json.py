"""JSON objects from strangers (RFC 8259), read so that two readers cannot understand them differently.

What Python's reader lets through and others read otherwise is refused: duplicate names (RFC 7515 §4,
RFC 7519 §4), NaN and the infinities, numbers that overflow, lone surrogates, encodings other than UTF-8; and
deep nesting, which would make every later walk over the value a recursion of the sender's choosing.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

MAX_DEPTH = 32
"""Objects and arrays inside one another, the outermost counted."""


def parse_object(document: bytes) -> dict[str, Any]:
    """The JSON object that `document` is. Raises ValueError with a reason that quotes none of it."""
    try:
        text = document.decode("utf-8")
        value = _DECODER.decode(text)
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg}: character {error.pos})") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    # Both need a bracket or an escape in the text: most documents are spared the walk.
    if text.count("{") + text.count("[") > MAX_DEPTH or "\\u" in text:
        _check_tree(value)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return members


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError("a number is out of range")
    return value


def _integer(number: str) -> int:
    try:
        return int(number)
    except ValueError:  # more digits than Python is willing to convert
        raise ValueError("a number is out of range") from None


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _check_tree(value: dict[str, Any]) -> None:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item)
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
            elif isinstance(item, str):
                _check_text(item)
        level = inner
    for item in level:
        if isinstance(item, (dict, list)):
            raise ValueError("nested too deeply")
        if isinstance(item, str):
            _check_text(item)


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("a lone surrogate") from None


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_finite, parse_int=_integer, parse_constant=_refuse_constant
)
