"""The request target's path, read in the one way that all backends share (RFC 9112 §3.2.1, RFC 3986 §3.3).

Law: what was judged is what is forwarded. A path that two servers could read differently is not judged.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote

RESERVED = "/.wsguard"
"""The guard's own paths on the public port stand under this prefix."""

_CONTROLS = re.compile(r"[\x00-\x20\x7f]")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_AMBIGUOUS_ESCAPE = re.compile(r"%(?:2[FfEe5]|5[Cc]|00|0[Aa]\Z)")
_DOT_SEGMENT = re.compile(r"/\.\.?(?=/|\Z)")

_SEPARATORS = re.compile(r"[/\\]+")
_RESERVED_NAME = re.compile(re.escape(RESERVED[1:]) + r"(?![\w-])", re.ASCII | re.IGNORECASE)
_PARAMETERS = re.compile(r";[^/]*")
_AUTHORITY = re.compile(r"\A//[^/]*/?")
_MOST_DECODINGS = 4
_MOST_READINGS = 64


class BadTarget(ValueError):
    """A request target that is refused with 400; the message says why, and repeats nothing that was sent."""


def read_path(target: str) -> str:
    """The percent-decoded path of a request target, its query left out.

    Bytes that are not UTF-8 become lone surrogates (surrogateescape), so that distinct paths stay distinct.
    Raises BadTarget for what is not in origin form, for control bytes and bytes outside ASCII, and for each
    spelling that servers resolve, decode or cut differently.
    """
    problem = basic_target_problem(target)
    path = target.partition("?")[0]
    if problem is None and not target.isascii():
        problem = "the target has unescaped bytes outside ASCII"
    if problem is None:
        problem = _ambiguity(path)
    if problem is not None:
        raise BadTarget(problem)
    return unquote(path, errors="surrogateescape")


def basic_target_problem(target: str) -> str | None:
    """Why `target` may not even be forwarded as plain HTTP, or None where it may."""
    if not target.startswith("/"):
        return "the target is not in origin form: it must begin with /"
    if "#" in target:
        return "the target has a fragment (#)"
    if "\\" in target:
        return "the target has a backslash"
    if _CONTROLS.search(target):
        return "the target has a control character or a space"
    return None


def is_reserved(target: str) -> bool:
    """True if any server could read `target` as under `/.wsguard`, whatever it decodes or resolves first.

    Where dot segments make the depth a matter of opinion, `.wsguard` anywhere in the path is enough.
    """
    path = target.partition("?")[0].partition("#")[0]
    for _ in range(_MOST_DECODINGS):
        decoded = unquote(path, errors="replace")
        if decoded == path:
            break
        path = decoded
    else:
        return True  # nothing honest is escaped so often
    segments = [segment.partition(";")[0] for segment in _SEPARATORS.split(path)]
    named = [segment for segment in segments if segment not in ("", ".")]
    places = named if ".." in named else named[:1]
    return any(_RESERVED_NAME.match(segment) for segment in places)


def readings(target: str) -> frozenset[str] | None:
    """Every path as which some server might read `target`, whatever it decodes, cuts or resolves, in whatever order.

    None where there are too many to say. For targets that `read_path` refuses; of any other it is the path itself.
    """
    found = {target.partition("?")[0]}
    waiting = list(found)
    while waiting:
        path = waiting.pop()
        for read in _READERS:
            other = read(path)
            if other not in found:
                if len(found) == _MOST_READINGS:
                    return None
                found.add(other)
                waiting.append(other)
    return frozenset(found)


def _resolve(path: str) -> str:
    """Without dot segments (RFC 3986 §5.2.4)."""
    kept: list[str] = []
    for segment in path.split("/")[1:]:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return "/" + "/".join(kept) + ("/" if path.endswith(("/.", "/..")) and kept else "")


_READERS: tuple[Callable[[str], str], ...] = (
    lambda path: unquote(path, errors="surrogateescape"),
    lambda path: _SEPARATORS.sub("/", path),
    lambda path: _PARAMETERS.sub("", path),
    lambda path: _AUTHORITY.sub("/", path, count=1),
    lambda path: path.partition("\0")[0],
    lambda path: path.removesuffix("\n"),  # before which `$` matches in most servers' routes (PCRE, Python)
    _resolve,
)


def _ambiguity(path: str) -> str | None:
    if "//" in path:
        return "the path has an empty segment (//)"
    if ";" in path:
        return "the path has a parameter (;)"
    if _BROKEN_ESCAPE.search(path):
        return "the path has a broken escape (% without two hexadecimal digits)"
    escape = _AMBIGUOUS_ESCAPE.search(path)
    if escape:
        return f"the path has an escape that servers read differently ({escape.group().upper()})"
    if _DOT_SEGMENT.search(path):
        return "the path has a dot segment (. or ..)"
    return None
