"""Small changes to a text, all at once: what is not changed stays as it is, byte for byte.

Law: a removal is the exact inverse of the insertion that made it. Lines go in behind the line where their collection
ends, in its indentation; what is in braces or brackets stays in them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import yaml

from wsguard.kubernetes.tree import Collection, Mapping, Node, Scalar, Sequence, children, content_end

_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_IN_PLACE = -1_000_000  # before all that is inserted behind a value
_TRAILING_COMMA = re.compile(r"\s*,")


@dataclass(frozen=True, slots=True)
class Edited:
    """The new text; `kept` are its stretches that the old one has too: where each begins in both, and its length."""

    text: str
    kept: tuple[tuple[int, int, int], ...]

    def origin(self, index: int) -> int:
        """Where the character at `index` stood in the old text; for a new one, where it was put."""
        place = 0
        for new, old, length in self.kept:
            if index < new:
                break
            place = old + min(index - new, length)
        return place


@dataclass(order=True, frozen=True, slots=True)
class _Change:
    """`old[start:end]` becomes `text`. At one place, what belongs to the inner of two collections comes first.

    A list may be in the column of the mapping around it, so the column alone does not tell which is the inner one.
    """

    start: int
    rank: int
    number: int
    end: int
    text: str


@dataclass(slots=True)
class Edits:
    """Collects changes to `text` by the nodes that were read from it; `done` makes them."""

    text: str
    newline: str = field(init=False)
    _changes: list[_Change] = field(default_factory=list)
    _deleted: list[tuple[int, int]] = field(default_factory=list)
    _filled: set[int] = field(default_factory=set)  # empty flow collections that something was put into

    def __post_init__(self) -> None:
        found = _BREAK.search(self.text)
        self.newline = found[0] if found else "\n"

    def put(self, mapping: Mapping, key: str, value: Any) -> None:
        """A new key."""
        if mapping.is_flow:
            self._insert_flow(mapping, f"{json.dumps(key)}: ", value)
        else:
            self._insert_lines(content_end(mapping), mapping.entries[0].key.column, _dump({key: value}))

    def append(self, sequence: Sequence, value: Any) -> None:
        """A new item, the last one."""
        if sequence.is_flow:
            self._insert_flow(sequence, "", value)
        else:
            self._insert_lines(content_end(sequence), self._dash(sequence, 0)[1], _dump([value]), is_item=True)

    def replace(self, node: Node, text: str) -> None:
        """Another text for a scalar, as it is written: with its quotes. Nothing for no value at all."""
        start, end = node.start, node.end
        if start == end and text:
            text = f" {text}"
        elif not text and self.text[:start].endswith(" "):
            start -= 1
        self._change(start, end, text, rank=_IN_PLACE)

    def add_document(self, value: Any) -> None:
        """A new document at the end of the stream."""
        self._insert_lines(None, -1, f"---\n{_dump(value)}")

    def remove_document(self, start: int, end: int | None) -> None:
        """A document from its first character to the next one's."""
        self._deleted.append((start, len(self.text) if end is None else end))

    def remove(self, collection: Collection, indexes: set[int]) -> None:
        """Entries or items, some or all."""
        if collection.is_flow:
            self._remove_flow(collection, indexes)
            return
        values = children(collection)
        for index in indexes:
            start = self._first_character(collection, index)
            left = [other for other in range(len(values)) if other not in indexes]
            if isinstance(collection, Mapping) and left and not self._begins_line(start):  # the first key of an item
                self._deleted.append((start, collection.entries[left[0]].key.start))
            else:
                line = start - self._column(start)
                self._deleted.append((line, self._line_after(content_end(values[index]))))

    def done(self) -> Edited:
        """The text with all changes made."""
        changes = sorted([*self._changes, *self._deletions()])
        parts: list[str] = []
        kept: list[tuple[int, int, int]] = []
        at = length = 0
        for change in [*changes, _Change(len(self.text), 0, 0, len(self.text), "")]:
            if change.start < at:  # inside of what is deleted
                continue
            kept.append((length, at, change.start - at))
            parts += (self.text[at : change.start], change.text)
            length += len(parts[-2]) + len(parts[-1])
            at = change.end
        return Edited("".join(parts), tuple(kept))

    def _change(self, start: int, end: int, text: str, rank: int) -> None:
        self._changes.append(_Change(start, rank, len(self._changes), end, text))

    def _insert_lines(self, last: Node | None, column: int, text: str, *, is_item: bool = False) -> None:
        """`text` behind the line where `last` ends, or at the end of all; the last line may lack its line break."""
        lines = [" " * max(column, 0) + line for line in text.splitlines()]
        at = len(self.text) if last is None else self._line_after(last)
        joined = self.newline.join(lines)
        ends_line = at == 0 or self.text[at - 1] in "\r\n"
        self._change(at, at, joined + self.newline if ends_line else self.newline + joined, rank=-2 * column - is_item)

    def _insert_flow(self, collection: Collection, prefix: str, value: Any) -> None:
        """A key goes to the front, where nothing is before it; an item to the end, for lists have an order."""
        values = children(collection)
        if not values:
            comma = ", " if id(collection) in self._filled else ""
            self._filled.add(id(collection))
            self._change(collection.end - 1, collection.end - 1, f"{comma}{prefix}{json.dumps(value)}", rank=0)
            return
        first = self._first_character(collection, 0)
        before = self.text[collection.start : first]
        space = before[len(before.rstrip()) :] or " "
        dumped = json.dumps(value)
        if _BREAK.search(space):  # one entry a line: the new one as its neighbours
            indent = _BREAK.split(space)[-1]
            dumped = json.dumps(value, indent=2).replace("\n", self.newline + indent)
        if isinstance(collection, Mapping):
            self._change(first, first, f"{prefix}{dumped},{space}", rank=0)
        else:
            self._change(values[-1].end, values[-1].end, f",{space}{dumped}", rank=0)

    def _remove_flow(self, collection: Collection, indexes: set[int]) -> None:
        values = children(collection)
        for index in sorted(indexes):
            after = index + 1
            if after < len(values):
                self._deleted.append(
                    (self._first_character(collection, index), self._first_character(collection, after))
                )
                continue
            kept = [other for other in range(index) if other not in indexes]
            if kept:
                self._deleted.append((values[kept[-1]].end, values[index].end))
            else:
                end = _TRAILING_COMMA.match(self.text, values[index].end)
                self._deleted.append(
                    (self._first_character(collection, index), end.end() if end else values[index].end)
                )

    def _deletions(self) -> Iterable[_Change]:
        """What is deleted, overlaps made one; lines at an end without a line break take the one before them along."""
        merged: list[list[int]] = []
        for start, end in sorted(self._deleted):
            if merged and start <= merged[-1][1]:
                merged[-1][1] = max(end, merged[-1][1])
            else:
                merged.append([start, end])
        for start, end in merged:
            is_unended = end == len(self.text) and self._begins_line(start) and self.text[-1:] not in "\r\n"
            before = len(self.newline) if is_unended and self.text[:start].endswith(self.newline) else 0
            yield _Change(start - before, 0, 0, end, "")

    def _first_character(self, collection: Collection, index: int) -> int:
        if isinstance(collection, Mapping):
            return collection.entries[index].key.start
        assert isinstance(collection, Sequence)
        return collection.items[index].start if collection.is_flow else self._dash(collection, index)[0]

    def _dash(self, sequence: Sequence, index: int) -> tuple[int, int]:
        """Where the dash of an item stands, and in which column: no event tells of it but the list's own beginning."""
        start, column = sequence.start, sequence.column
        if self.text[start : start + 1] != "-":  # an anchor or a tag stands there
            found = _dash_line("").search(self.text, start)
            assert found is not None
            start = found.end() - 1
            column = self._column(start)
        if index == 0:
            return start, column
        after = content_end(sequence.items[index - 1]).end
        line = _dash_line(" " * column).search(self.text, max(after - 1, 0), sequence.items[index].start)
        if line is None:
            return sequence.items[index].start, column
        return line.end() - 1, column

    def _column(self, index: int) -> int:
        return index - 1 - max(self.text.rfind(char, 0, index) for char in "\n\r\x85\u2028\u2029")

    def _begins_line(self, index: int) -> bool:
        return not self.text[index - self._column(index) : index].strip(" ")

    def _line_after(self, last: Node) -> int:
        """The beginning of the line behind the one where `last` ends; the end of the text where there is none."""
        if isinstance(last, Scalar) and last.is_block and self.text[last.end - 1 : last.end] in ("\r", "\n"):
            return last.end
        found = _BREAK.search(self.text, last.end)
        return found.end() if found else len(self.text)


def _dash_line(indent: str) -> re.Pattern[str]:
    return re.compile(rf"^{indent or ' *'}-(?=\s|$)", re.MULTILINE)


def _dump(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, default_flow_style=False, width=float("inf"))
