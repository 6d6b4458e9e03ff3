"""The changes to one manifest, by path; and the record that takes them back.

Law: whatever is done leaves its inverse in the record, an annotation of the manifest itself, so that it can be taken
back from any copy: the file, or what the cluster gives out.

A path is a list of steps: a key of a mapping; a number, that item of a list; `{"name": "app"}`, the item with these
fields; `["--x"]`, the last item that says this.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from collections.abc import Mapping as AbstractMapping
from collections.abc import Sequence as AbstractSequence
from dataclasses import dataclass, field
from typing import Any

from wsguard.kubernetes.edits import Edits
from wsguard.kubernetes.tree import (
    Mapping,
    Node,
    Scalar,
    Sequence,
    children,
    find,
    target,
    text_at,
)

RECORD = "wsguard.dev/injected"
"""The annotation that holds the record."""

MADE = "all of it"
"""The record of a manifest that was not there before."""

Step = str | int | AbstractMapping[str, Any] | AbstractSequence[str]
Path = tuple[Step, ...]


class Unchangeable(Exception):
    """A manifest that cannot be changed here: `node` is where, `why` a sentence."""

    def __init__(self, node: Node, why: str) -> None:
        super().__init__(node, why)
        self.node = node
        self.why = why


@dataclass(slots=True)
class Revision:
    """What becomes of the manifest `root`. Raises Unchangeable, also where a change would be made in several places."""

    root: Mapping
    edits: Edits
    record: list[dict[str, Any]] = field(default_factory=list)

    def put(self, path: Path, value: Any) -> None:
        """A value where there is none, with whatever is missing on the way."""
        way, node = self._walk(path)
        rest = path[len(way) :]
        made = len(rest) - 1
        if not isinstance(node, Mapping):  # nothing but a key, or null: it becomes a mapping
            self._replace_nothing(path[: len(way)], node, _nested(rest, value))
            return
        assert isinstance(rest[0], str)
        self.edits.put(node, rest[0], _nested(rest[1:], value))
        self._note(path, made)

    def extend(self, path: Path, values: AbstractSequence[Any]) -> None:
        """More items for a list, which is made where there is none; each has a `name`, or is text."""
        way, node = self._walk(path)
        made = len(path) - len(way)
        if made:
            assert isinstance(node, Mapping)
            first = path[len(way)]
            assert isinstance(first, str)
            self.edits.put(node, first, _nested(path[len(way) + 1 :], list(values)))
        elif isinstance(node, Sequence):
            for value in values:
                self.edits.append(node, value)
        else:
            self._replace_nothing(path, node, list(values))
            return
        for value in values:
            self._note((*path, [value] if isinstance(value, str) else {"name": value["name"]}), made)

    def replace(self, path: Path, value: str | int) -> None:
        """Another value for a scalar."""
        _, node = self._walk(path)
        if not isinstance(node, Scalar) or node.is_block:
            raise Unchangeable(node, f"{_spelled(path)} has to be a value on one line, for it is to be replaced")
        self.record.append({"at": list(path), "was": self.edits.text[node.start : node.end], "is": value})
        self.edits.replace(node, json.dumps(value))

    def sign(self) -> None:
        """Leave the record. Does nothing where nothing has changed."""
        if self.record:
            path = ("metadata", "annotations", RECORD)
            way, node = self._walk(path)
            if isinstance(node, Mapping):
                self._note(path, len(path) - len(way) - 1)
            else:
                self._note_nothing(path[: len(way)], node)
            text = json.dumps(self.record, separators=(",", ":"))
            self.record = []
            self.put(path, text)

    def _note(self, path: Path, made: int) -> None:
        self.record.append({"at": list(path), **({"made": made} if made else {})})

    def _replace_nothing(self, path: Path, node: Node, value: Any) -> None:
        self._note_nothing(path, node)
        self.edits.replace(node, json.dumps(value))

    def _note_nothing(self, path: Path, node: Node) -> None:
        if not isinstance(node, Scalar) or node.value is not None:
            raise Unchangeable(node, f"{_spelled(path)} is neither a mapping nor a list, as it has to be")
        self.record.append({"at": list(path), "was": self.edits.text[node.start : node.end]})

    def _walk(self, path: Path) -> tuple[Path, Node]:
        """As far as `path` leads, and what is there. Raises Unchangeable."""
        node: Node = self.root
        own(node)
        for count, step in enumerate(path):
            index = index_of(node, step)
            if index is None:
                if isinstance(step, str) and find(node, step) is not None:
                    raise Unchangeable(
                        node, f'"{step}" comes from a merge key (<<) here, and is to change: write it out'
                    )
                return path[:count], node
            own(node := children(node)[index])
        return path, node


def own(node: Node) -> None:
    """Raises Unchangeable for a value that stands in several places."""
    if node.is_shared or target(node) is not node:
        raise Unchangeable(
            node, "this is shared by an anchor (& and *), and only one of its places is to change: write it out"
        )


def _nested(keys: Iterable[Step], value: Any) -> Any:
    for key in reversed(tuple(keys)):
        value = {key: value}
    return value


def index_of(node: Node, step: Step) -> int | None:
    """Which child of `node` the step leads to; None for none of them."""
    if isinstance(step, str):
        keys = [entry.key.text for entry in node.entries] if isinstance(node, Mapping) else []
        return keys.index(step) if step in keys else None
    if isinstance(step, int):
        return step if 0 <= step < len(children(node)) else None
    found = [i for i, item in enumerate(node.items) if _fits(item, step)] if isinstance(node, Sequence) else []
    return found[-1] if found else None


def _fits(item: Node, step: AbstractMapping[str, Any] | AbstractSequence[str]) -> bool:
    if isinstance(step, AbstractMapping):
        return all(text_at(item, key) == str(value) for key, value in step.items())
    (text,) = step
    return isinstance(item, Scalar) and item.text == text


def is_signed(root: Mapping) -> bool:
    """Whether the manifest has a record."""
    return text_at(root, "metadata", "annotations", RECORD) is not None


def is_made(root: Mapping) -> bool:
    """Whether the whole manifest is the guard's."""
    return text_at(root, "metadata", "annotations", RECORD) == MADE


def _spelled(path: Path) -> str:
    return ".".join(step for step in path if isinstance(step, str))
