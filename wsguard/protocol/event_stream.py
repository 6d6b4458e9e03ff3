"""Where events begin and end in an event stream (WHATWG HTML §9.2.6), in one pass and without keeping any.

A line ends with CRLF, LF or CR, an event with an empty line. A client forgets an event that is cut short, so an end
between two events loses nothing.
"""

from __future__ import annotations

import re

_LINE_END = re.compile(rb"\r\n|\n|\r")
_FIELD = 5  # bytes of a line that tell whether it is a `data` field


class EventScanner:
    """Fed with the bytes of one stream. `messages` counts the events with data that were whole."""

    __slots__ = ("_ends_in_cr", "_has_begun", "_has_data", "_line", "messages")

    def __init__(self) -> None:
        self.messages = 0
        self._line = b""  # the first bytes of the line under way
        self._ends_in_cr = False  # a LF that comes next belongs to it
        self._has_begun = self._has_data = False  # an event, and data in it

    @property
    def is_at_rest(self) -> bool:
        """Whether no event is under way."""
        return not self._has_begun and not self._line

    @property
    def is_amid_data(self) -> bool:
        """Whether an event with data is under way; a comment that keeps a connection alive is none."""
        return self._has_data or self._line.startswith(b"data")

    def feed(self, data: bytes, *, to_end: bool = False) -> int:
        """Read `data`, with `to_end` no further than the end of the event under way; how many bytes were read."""
        at = 1 if self._ends_in_cr and data[:1] == b"\n" else 0
        if data:
            self._ends_in_cr = data.endswith(b"\r")
        for end in _LINE_END.finditer(data, at):
            line = (self._line + data[at : min(end.start(), at + _FIELD)])[:_FIELD]
            self._line, at = b"", end.end()
            if line:
                self._has_begun = True
                self._has_data = self._has_data or line in (b"data", b"data:")
                continue
            self.messages += self._has_data
            self._has_begun = self._has_data = False
            if to_end:
                return at
        self._line = (self._line + data[at : at + _FIELD])[:_FIELD]
        return len(data)


def last_words(text: str, retry_after: float | None) -> bytes:
    """What a stream is ended with between two events: a comment, and for how long a client is to wait (seconds)."""
    retry = "" if retry_after is None else f"retry: {round(retry_after * 1000)}\n"
    return f": {text}\n{retry}\n".encode()
