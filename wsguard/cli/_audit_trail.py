"""The audit trail, read back: lines of a guard's log or audit file, among whatever else a log collector put there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

_LONGEST = 1 << 16  # characters: no line of a guard's is so long


class Entry(NamedTuple):
    """One event: `at` is seconds since the epoch, `fields` as the line has them."""

    at: float
    event: str
    fields: Mapping[str, Any]

    def text(self, name: str) -> str | None:
        """A field that is text; None where it is not there or is none."""
        value = self.fields.get(name)
        return value if isinstance(value, str) else None


def read(lines: Iterable[str]) -> Iterator[Entry | None]:
    """Each line as an entry; None for one that is no line of a guard."""
    return map(read_line, lines)


def read_line(line: str) -> Entry | None:
    """The entry that begins at the first brace: `kubectl logs --prefix` and others write something before it."""
    start = line.find("{")
    if start < 0 or len(line) > _LONGEST:
        return None
    try:
        fields = json.loads(line[start:])
        at = datetime.fromisoformat(fields["time"]).astimezone(UTC).timestamp()
        event = fields["event"]
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None
    return Entry(at, event, fields) if isinstance(event, str) else None
