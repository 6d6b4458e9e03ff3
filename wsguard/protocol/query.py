"""Query parameters by name, as every backend would read them (WHATWG URL §5, HTML 4.01 §B.2.2).

Law: no query hides from the guard a parameter that some backend would read. Readers disagree on what parts
parameters (an ampersand; to older ones a semicolon too; to handmade ones the last question mark), on case,
on `name[]`, and on dots and spaces (underscores to PHP). So a name counts wherever any of them would begin
one; where that finds two different values, the caller refuses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from urllib.parse import unquote_plus

_AS_VARIABLE = str.maketrans(". [", "___")  # PHP
_PAIR = re.compile(r"(?:^|(?<=[;?]))([^;?=]+)(?:=|(?=[;?]|\Z))")


def values(query: str | None, name: str) -> list[str]:
    """Every value of the parameter `name`, decoded (`+` is a space), in order; equal ones are repeated.

    A value reaches to the next ampersand; without an equals sign it is empty. Names are compared decoded,
    without regard to case, less a suffix in brackets, and as PHP makes variables of them.
    """
    if not query:
        return []
    wanted = _folds(name)
    return [
        unquote_plus(piece[pair.end() :])
        for piece in query.split("&")
        for pair in islice(_named(piece, wanted), 2)  # a third differs as well: it costs time and tells nothing
    ]


def erase(target: str, names: Iterable[str]) -> str:
    """`target` less the parameters `names`: the rest byte for byte, no `?` where nothing is left of it."""
    path, _, query = target.partition("?")
    gone = frozenset(fold for name in names for fold in _folds(name))
    pieces = query.split("&")
    kept = []
    for piece in pieces:
        start = next((pair.start(1) for pair in _named(piece, gone)), None)
        if start is None:
            kept.append(piece)
        elif piece[:start].strip(";?"):  # an honest parameter before it, to readers who part by semicolon
            kept.append(piece[:start].rstrip(";?"))
    if kept == pieces:
        return target
    left = "&".join(kept)
    return f"{path}?{left}" if left else path


def _named(piece: str, names: frozenset[str]) -> Iterator[re.Match[str]]:
    """Where one of `names` stands in what is between two ampersands."""
    return (pair for pair in _PAIR.finditer(piece) if not names.isdisjoint(_folds(pair[1])))


def _folds(name: str) -> frozenset[str]:
    """What readers make of a name: some end it at a bracket, PHP makes one that is never closed an underscore."""
    known = unquote_plus(name).partition("\0")[0].strip().casefold()  # PHP's names are C strings
    return frozenset(part.strip().translate(_AS_VARIABLE) for part in (known, known.partition("[")[0]))
