"""YAML and JSON text as documents. Built from the parser's events without recursion: who wrote it chose the depth."""

from __future__ import annotations

import json
from typing import Any

import yaml

from wsguard.kubernetes.tree import (
    Alias,
    Collection,
    Document,
    Entry,
    Mapping,
    Node,
    Scalar,
    Sequence,
    Unreadable,
)

# With libyaml a file is read many times faster; both parsers tell the same events, at the same characters.
_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

MAX_DEPTH = 100
"""How deep mappings and lists may nest; a manifest needs a score."""


def read(text: str) -> list[Document]:
    """The documents of `text`, empty ones included. Raises Unreadable."""
    builder = _Builder()
    try:
        for event in yaml.parse(_without_tabs(text), Loader=_PARSER):
            builder.take(event)
    except yaml.reader.ReaderError as error:
        raise Unreadable(error.position, f"the character U+{error.character:04X} has no place in YAML") from None
    except yaml.MarkedYAMLError as error:
        mark: Any = error.problem_mark or error.context_mark
        why = " ".join(" ".join(part.split()) for part in (error.context, error.problem) if part)
        raise Unreadable(mark.index, f"this is not YAML: {why}{_hint(text)}") from None
    except Unreadable as error:
        raise Unreadable(error.index, error.why + _hint(text)) from None
    return builder.documents


def is_json(text: str) -> bool:
    """Whether the whole text is one JSON value."""
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _without_tabs(text: str) -> str:
    """JSON may be indented with tabs, which PyYAML will not have; in JSON none can stand inside of a string."""
    return text.replace("\t", " ") if "\t" in text and is_json(text) else text


def _hint(text: str) -> str:
    return "; this looks like a template, which has to be rendered first" if "{{" in text else ""


class _Builder:
    """Builds documents from events; `open` are the collections around the next event."""

    def __init__(self) -> None:
        self.documents: list[Document] = []
        self._open: list[Collection] = []
        self._keys: list[Scalar | None] = []  # for each open one, the key that waits for its value
        self._known: list[set[str]] = []  # and the keys that it has
        self._anchors: dict[str, Node] = {}
        self._duplicates: list[Scalar] = []
        self._start = 0

    def take(self, event: Any) -> None:
        """One event of the parser. Raises Unreadable for what no manifest holds."""
        begins: Any = event.start_mark
        ends: Any = event.end_mark
        if isinstance(event, yaml.DocumentStartEvent):
            self._start = begins.index
            self._anchors, self._duplicates = {}, []
        elif isinstance(event, yaml.CollectionEndEvent):
            ended = self._open.pop()
            self._keys.pop()
            self._known.pop()
            ended.end = ends.index
        elif isinstance(event, yaml.NodeEvent):
            node = self._node(event)
            self._add(node)
            if isinstance(node, Collection):
                self._enter(node)

    def _enter(self, node: Collection) -> None:
        if len(self._open) == MAX_DEPTH:
            raise Unreadable(node.start, f"mappings and lists nest deeper than {MAX_DEPTH}")
        self._open.append(node)
        self._keys.append(None)
        self._known.append(set())

    def _node(self, event: Any) -> Node:
        where = (event.start_mark.index, event.end_mark.index, event.start_mark.column)
        if isinstance(event, yaml.AliasEvent):
            meant = self._anchors.get(event.anchor or "")
            if meant is None or meant in self._open:
                raise Unreadable(where[0], f"*{event.anchor} stands for nothing that ends before it")
            meant.is_shared = True
            return Alias(*where, target=meant)
        node: Node
        if isinstance(event, yaml.MappingStartEvent):
            node = Mapping(*where, is_flow=bool(event.flow_style))
        elif isinstance(event, yaml.SequenceStartEvent):
            node = Sequence(*where, is_flow=bool(event.flow_style))
        else:
            plain = bool(event.implicit[0]) and not event.style
            node = Scalar(*where, text=event.value, is_plain=plain, is_block=event.style in ("|", ">"))
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _add(self, node: Node) -> None:
        """Put a node where it belongs: a document, a list's item, a mapping's next key or that key's value."""
        if not self._open:
            self.documents.append(Document(self._start, node, self._duplicates))
            return
        collection = self._open[-1]
        if isinstance(collection, Sequence):
            collection.items.append(node)
        elif isinstance(collection, Mapping):
            if (key := self._keys[-1]) is None:
                if not isinstance(node, Scalar):
                    raise Unreadable(node.start, "a key must be text")
                self._keys[-1] = node
            else:
                self._keys[-1] = None
                if key.text in self._known[-1] and key.text != "<<":
                    self._duplicates.append(key)
                self._known[-1].add(key.text)
                collection.entries.append(Entry(key, node))
