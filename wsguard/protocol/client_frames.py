"""A client's bytes, taken apart into frames (RFC 6455 §5.2), once a scanner has let them pass.

Data frames come in the pieces in which they arrived, since they may be long; a control frame comes whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from wsguard.protocol.frame_rules import FIN
from wsguard.protocol.frames import MAX_CONTROL_PAYLOAD, Opcode, apply_mask


class Piece(NamedTuple):
    """A part of a frame, as it came: `begins` and `ends` say whether it is the first and the last."""

    opcode: int
    fin: bool
    data: bytes
    begins: bool
    ends: bool


class Frames:
    """Follows one client's stream from a place that `left` bytes before a frame's end; 0: from a frame's beginning.

    `fin` says whether that frame ends its message; it passes for a continuation.
    """

    __slots__ = ("_fin", "_left", "_opcode", "_pending")

    def __init__(self, left: int = 0, *, fin: bool = True) -> None:
        self._pending = bytearray()
        self._left = left
        self._opcode: int = Opcode.CONTINUATION
        self._fin = fin

    @property
    def is_within(self) -> bool:
        """Whether a data frame is under way."""
        return self._left > 0

    @property
    def pending(self) -> bytes:
        """What no piece was made of yet: the beginning of a header, or of a control frame."""
        return bytes(self._pending)

    def feed(self, data: bytes) -> Iterator[Piece]:
        """The pieces that `data` makes; to be walked to the end."""
        pending = self._pending
        pending += data
        at, begins = 0, False
        while at < len(pending):
            if not self._left:
                size = _size(pending, at)
                if size == 0:
                    break
                self._opcode, self._fin = pending[at] & 0x0F, bool(pending[at] & FIN)
                if self._opcode >= Opcode.CLOSE and len(pending) - at < size:
                    break
                self._left, begins = size, True
            part = bytes(pending[at : at + self._left])
            at += len(part)
            self._left -= len(part)
            yield Piece(self._opcode, self._fin, part, begins, not self._left)
            begins = False
        del pending[:at]


def _size(data: bytearray, at: int) -> int:
    """How many bytes the frame at `at` has; 0 where that cannot be said yet."""
    if len(data) - at < 2:
        return 0
    length = data[at + 1] & 0x7F
    if length <= MAX_CONTROL_PAYLOAD:
        return 6 + length
    width = 2 if length == 126 else 8
    if len(data) - at < 2 + width:
        return 0
    return 6 + width + int.from_bytes(data[at + 2 : at + 2 + width], "big")


def payload(frame: bytes) -> bytes:
    """What a whole, masked frame says."""
    length = frame[1] & 0x7F
    start = 2 if length <= MAX_CONTROL_PAYLOAD else 4 if length == 126 else 10
    return apply_mask(frame[start + 4 :], frame[start : start + 4])
