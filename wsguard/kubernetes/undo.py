"""Taking back what the record of a manifest says was done, in whatever layout it now is.

Law: what is not there any more, or says something else by now, is left alone; what was made on the way goes once it is
empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from wsguard.kubernetes.edits import Edits
from wsguard.kubernetes.reader import is_json, read
from wsguard.kubernetes.revision import RECORD, Path, Step, index_of, own
from wsguard.kubernetes.tree import Collection, Mapping, Node, Scalar, Unreadable, children, text_at

_FOREIGN = f"the annotation {RECORD} is not as wsguard writes it"
_IN_BRACKETS = re.compile(r"[][{},]")


def undo(root: Mapping, edits: Edits) -> None:
    """Take back what the record says. Raises ValueError for a record that nobody here wrote, and Unchangeable."""
    removed: dict[int, tuple[Collection, set[int]]] = {}
    for path, made, was, now in _changes(text_at(root, "metadata", "annotations", RECORD) or ""):
        chain = _chain(root, path)
        if chain is None:
            continue  # somebody has taken it out by hand
        collection, index = chain[-1]
        value = children(collection)[index]
        if now is not None and isinstance(value, Scalar) and value.text != str(now):
            continue  # and somebody has changed it
        if was is None or (isinstance(value, Collection) and not value.is_flow):
            _remove(chain, made, removed)
        else:
            edits.replace(value, _written(was, collection.is_flow, edits.text))
    for collection, indexes in removed.values():
        edits.remove(collection, indexes)


def _changes(record: str) -> Iterator[tuple[Path, int, str | None, str | int | None]]:
    """For each change its path, how many collections were made for it, what was written there, and what is now."""
    try:
        for change in json.loads(record):
            made, was, now = change.get("made", 0), change.get("was"), change.get("is")
            if not isinstance(made, int) or not isinstance(was, str | None) or not isinstance(now, str | int | None):
                raise TypeError
            yield tuple(_step(step) for step in change["at"]), made, was, now
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ValueError(_FOREIGN) from None


def _step(step: Any) -> Step:
    if isinstance(step, (str, int, dict)) or (isinstance(step, list) and len(step) == 1):
        return step
    raise TypeError


def _chain(root: Mapping, path: Path) -> list[tuple[Collection, int]] | None:
    """The collections on the way and which of their children it takes; None where it leads nowhere."""
    chain: list[tuple[Collection, int]] = []
    node: Node = root
    for step in path:
        own(node)
        if (index := index_of(node, step)) is None:
            return None
        assert isinstance(node, Collection)
        chain.append((node, index))
        node = children(node)[index]
    return chain or None


def _remove(chain: list[tuple[Collection, int]], made: int, removed: dict[int, tuple[Collection, set[int]]]) -> None:
    """Note the last link as removed; and its collection, once that is empty and was made or cannot be written empty."""
    for collection, index in reversed(chain):
        _, indexes = removed.setdefault(id(collection), (collection, set()))
        indexes.add(index)
        if len(indexes) < len(children(collection)) or (collection.is_flow and made <= 0) or collection is chain[0][0]:
            return
        del removed[id(collection)]
        made -= 1


def _written(was: str, is_flow: bool, text: str) -> str:
    """A scalar as it was written; with JSON's quotes where its own, or none, would mean something else."""
    if (is_flow and was[:1] not in "'\"" and _IN_BRACKETS.search(was)) or is_json(text):
        try:
            node = read(was)[0].root if was else None
        except (Unreadable, IndexError):
            raise ValueError(_FOREIGN) from None
        return json.dumps(node.value if isinstance(node, Scalar) else None)
    return was
