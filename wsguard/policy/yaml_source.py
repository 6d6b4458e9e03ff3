"""YAML text as nodes that know their place.

A policy file is a small language: mappings with text keys, lists and plain values. What makes YAML dangerous
or surprising is refused where it stands: anchors, aliases and merge keys (a page that becomes gigabytes),
tags, duplicate keys, keys without a value, deep nesting. `yes`, `on` and `1:30` are text. The tree is built
from the parser's events without recursion: PyYAML's composers recurse, and the C one crashes on deep input.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_BYTES = 1 << 20
"""How much one file may hold: as much as a ConfigMap."""
MAX_DEPTH = 32
"""How deep mappings and lists may nest; the policy language needs a dozen."""
MAX_VALUES = 100_000
"""How many values one file may hold, which bounds the memory that a file takes."""
MAX_PROBLEMS = 100
"""How many problems are reported for one file."""

# With libyaml a file is read many times faster; both parsers tell the same events.
_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NOT_TEXT = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # YAML §5.1
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[-+]?(?:[0-9]{1,18}\.[0-9]{0,18}|\.[0-9]{1,18}|[0-9]{1,18}(?=[eE]))(?:[eE][-+]?[0-9]{1,2})?")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a file; line and column count from 1, the column in characters."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class SourceText:
    """One file: `file` is its name in messages, and relative paths in it start at its folder."""

    file: str
    text: str | bytes = field(repr=False)


class YamlError(Exception):
    """Something in a file that is no part of the policy language: `place` says where, `why` says what."""

    def __init__(self, place: Place, why: str) -> None:
        super().__init__(place, why)
        self.place = place
        self.why = why


@dataclass(slots=True)
class Node:
    """A value and its place: text, a number, a boolean, None, a list of nodes, or a mapping of entries."""

    place: Place
    value: Any

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]  # recursion: at most MAX_DEPTH
        if isinstance(self.value, dict):
            return {key: entry.node.plain() for key, entry in self.value.items()}
        return self.value

    def at(self, path: Sequence[str | int], of_key: bool = False) -> Place:
        """The place of the value that `path` leads to, or of its key; as far as the path is there."""
        node, place = self, self.place
        for step in path:
            if isinstance(node.value, dict) and step in node.value:
                entry = node.value[step]
                node, place = entry.node, entry.key_place if of_key else entry.node.place
            elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                place = node.place
            elif not (isinstance(node.value, dict) and node.get("type") == step):  # which of several models it is
                break
        return place

    def get(self, *keys: str) -> Any:
        """The plain value under these keys, None where there is none."""
        node = self
        for key in keys:
            if not isinstance(node.value, dict) or key not in node.value:
                return None
            node = node.value[key].node
        return node.plain()


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping: where the key stands, and its value."""

    key_place: Place
    node: Node


def read_documents(source: SourceText) -> tuple[list[Node], list[YamlError]]:
    """The documents of a file that hold anything, and at most MAX_PROBLEMS with its YAML.

    Where the reading had to stop, the whole documents before that place are returned, and the problem is the last.
    """
    reader = _Reader(source.file)
    try:
        for event in yaml.parse(_decode(source), Loader=_PARSER):
            reader.take(event)
    except YamlError as problem:
        reader.stop(problem)
    except yaml.YAMLError as error:
        reader.stop(_syntax(source.file, error))
    return reader.documents, reader.problems


def resolve(text: str) -> str | int | float | bool | None:
    """A plain scalar in YAML 1.2's core schema, less octal, hexadecimal, infinity and not-a-number."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text


class _Reader:
    """Builds documents from events; `open` holds the mappings and lists around the next event."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.documents: list[Node] = []
        self.problems: list[YamlError] = []
        self._values = 0
        self._open: list[Node] = []
        self._keys: list[Node | None] = []  # for each open one, the key that waits for its value

    def take(self, event: Any) -> None:
        """One event of the parser. Raises YamlError where the rest cannot be read."""
        place = Place(self.file, event.start_mark.line + 1, event.start_mark.column + 1)
        if isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
            self._keys.pop()
        elif isinstance(event, yaml.AliasEvent):
            self._complain(place, f"aliases (*{event.anchor}) are not supported: write the value out")
            self._add(Node(place, event.anchor))
        elif isinstance(event, yaml.NodeEvent):
            self._refuse_extras(place, event)
            node = Node(place, self._value(event))
            self._add(node)
            if isinstance(event, yaml.CollectionStartEvent):
                self._enter(node)

    def stop(self, problem: YamlError) -> None:
        """Nothing more can be read. Half a document would only have keys that seem to be missing."""
        self.problems.append(problem)
        if self._open:
            self.documents.pop()

    def _enter(self, node: Node) -> None:
        if len(self._open) == MAX_DEPTH:
            raise YamlError(node.place, f"mappings and lists nest deeper than {MAX_DEPTH}")
        self._open.append(node)
        self._keys.append(None)

    def _value(self, event: Any) -> Any:
        if isinstance(event, yaml.MappingStartEvent):
            return {}
        if isinstance(event, yaml.SequenceStartEvent):
            return []
        is_plain = event.implicit[0] and not self._is_key_next()
        return resolve(event.value) if is_plain else event.value

    def _is_key_next(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].value, dict) and self._keys[-1] is None

    def _add(self, node: Node) -> None:
        """Put a node where it belongs: a document, a list's item, a mapping's next key or that key's value."""
        self._values += 1
        if self._values > MAX_VALUES:
            raise YamlError(node.place, f"the file has more than {MAX_VALUES} values")
        if not self._open:
            if node.value is not None:
                self.documents.append(node)
            return
        collection = self._open[-1].value
        if isinstance(collection, list):
            if node.value is None:
                self._complain(node.place, "an item of the list has no value")
            collection.append(node)
        elif (key := self._keys[-1]) is None:
            if not isinstance(node.value, str):
                raise YamlError(node.place, "a key must be text")
            self._keys[-1] = node
        else:
            self._keys[-1] = None
            self._put(collection, key, node)

    def _put(self, mapping: dict[str, Entry], key: Node, node: Node) -> None:
        name = key.value
        if name in mapping:
            first = mapping[name].key_place
            self._complain(key.place, f'duplicate key "{name}", first given on line {first.line}')
        elif name == "<<":
            self._complain(key.place, "merge keys (<<) are not supported: write the keys out")
        else:
            if node.value is None:
                self._complain(node.place, f'"{name}" has no value: give it one or leave the key out')
            mapping[name] = Entry(key.place, node)

    def _refuse_extras(self, place: Place, event: Any) -> None:
        if event.anchor is not None:
            self._complain(place, f"anchors (&{event.anchor}) are not supported: write the value out")
        if event.tag is not None:
            self._complain(place, f"tags ({event.tag}) are not supported")

    def _complain(self, place: Place, why: str) -> None:
        if len(self.problems) == MAX_PROBLEMS - 1:
            raise YamlError(place, "too many problems: the rest of the file was not read")
        self.problems.append(YamlError(place, why))


def _decode(source: SourceText) -> str:
    if len(source.text) > MAX_BYTES:
        raise YamlError(Place(source.file, 1, 1), f"the file has more than {MAX_BYTES} bytes")
    text = source.text if isinstance(source.text, str) else _utf8(source.file, source.text)
    text = text.removeprefix("\ufeff")
    if bad := _NOT_TEXT.search(text):
        place = _end_of(source.file, text[: bad.start()])
        raise YamlError(place, f"the character U+{ord(bad[0]):04X} has no place in a policy file")
    return text


def _utf8(file: str, data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        place = _end_of(file, data[: error.start].decode("utf-8"))
        raise YamlError(place, f"the file is not UTF-8: {error.reason}") from None


def _end_of(file: str, text: str) -> Place:
    *before, last = text.split("\n")
    return Place(file, len(before) + 1, len(last) + 1)


def _syntax(file: str, error: yaml.YAMLError) -> YamlError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    parts = (getattr(error, "context", None), getattr(error, "problem", None))
    why = " ".join(" ".join(part.split()) for part in parts if part)
    place = Place(file, 1, 1) if mark is None else Place(file, mark.line + 1, mark.column + 1)
    return YamlError(place, f"this is not YAML: {why or 'it cannot be read'}")
