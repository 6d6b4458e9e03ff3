"""Manifests as a tree that knows where each value stands, down to the character.

Law: what Kubernetes would read is readable here, anchors, aliases and merge keys included; nothing is expanded, and
nothing of the text is lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wsguard.policy.yaml_source import resolve


class Unreadable(Exception):
    """The text is no YAML: `index` is the character where that shows, `why` a sentence."""

    def __init__(self, index: int, why: str) -> None:
        super().__init__(index, why)
        self.index = index
        self.why = why


@dataclass(slots=True, eq=False)
class Node:
    """A value, from character `start` to before `end`; `column` counts from 0. A block collection has no end.

    `is_shared`: an alias elsewhere says that this value stands there too.
    """

    start: int
    end: int
    column: int
    is_shared: bool = False


@dataclass(slots=True, eq=False)
class Scalar(Node):
    """Text. `is_plain`: without quotes, so that it may be a number, a boolean or nothing. `is_block`: after | or >."""

    text: str = ""
    is_plain: bool = False
    is_block: bool = False

    @property
    def value(self) -> str | int | float | bool | None:
        """What it says: text, a number, a boolean, or None."""
        return resolve(self.text) if self.is_plain else self.text


@dataclass(slots=True, eq=False)
class Alias(Node):
    """Says that the value of an anchor stands here too; None for an anchor that does not exist, or is around it."""

    target: Node | None = None


@dataclass(slots=True, eq=False)
class Collection(Node):
    """A mapping or a list. `is_flow`: in braces or brackets, as all of JSON is."""

    is_flow: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping, and its value."""

    key: Scalar
    value: Node


@dataclass(slots=True, eq=False)
class Mapping(Collection):
    """Keys in their order."""

    entries: list[Entry] = field(default_factory=list)

    def entry(self, key: str) -> Entry | None:
        """The entry that stands here under `key`, merged ones not counted."""
        return next((entry for entry in self.entries if entry.key.text == key), None)


@dataclass(slots=True, eq=False)
class Sequence(Collection):
    """Items in their order."""

    items: list[Node] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a stream: its first character (of its directives or `---`, where it has them) and its value.

    `duplicates` are keys that stand twice in one mapping.
    """

    start: int
    root: Node
    duplicates: list[Scalar]


def children(node: Node) -> list[Node]:
    """The values in a collection, in their order."""
    if isinstance(node, Mapping):
        return [entry.value for entry in node.entries]
    return node.items if isinstance(node, Sequence) else []


def target(node: Node | None) -> Node | None:
    """The value itself, for what may be an alias."""
    return node.target if isinstance(node, Alias) else node


def find(node: Node | None, *keys: str) -> Node | None:
    """What stands under these keys, through aliases and merge keys; None where there is nothing."""
    found = target(node)
    for key in keys:
        found = _lookup(found, key) if isinstance(found, Mapping) else None
    return found


def _lookup(mapping: Mapping, key: str) -> Node | None:
    """Its own entry before merged ones, and these in their order; each mapping is looked at once."""
    pending, seen = [mapping], set()
    while pending:
        one = pending.pop(0)
        if id(one) not in seen:
            seen.add(id(one))
            if own := one.entry(key):
                return target(own.value)
            pending[:0] = _merged(one)
    return None


def _merged(mapping: Mapping) -> list[Mapping]:
    """What its merge keys bring."""
    values = [target(entry.value) for entry in mapping.entries if entry.key.text == "<<" and entry.key.is_plain]
    bases = [target(one) for value in values for one in (value.items if isinstance(value, Sequence) else [value])]
    return [base for base in bases if isinstance(base, Mapping)]


def text_at(node: Node | None, *keys: str) -> str | None:
    """The text of the scalar under these keys; None where there is none, or nothing in it."""
    found = find(node, *keys)
    return found.text if isinstance(found, Scalar) and found.value is not None else None


def items_at(node: Node | None, *keys: str) -> list[Node]:
    """The items of the list under these keys, aliases followed."""
    found = find(node, *keys)
    items = [target(item) for item in found.items] if isinstance(found, Sequence) else []
    return [item for item in items if item is not None]


def content_end(node: Node) -> Node:
    """The last value in `node`, which ends where its content ends: behind it there may be comments and blank lines."""
    while isinstance(node, Collection) and not node.is_flow and (inner := children(node)):
        node = inner[-1]
    return node
