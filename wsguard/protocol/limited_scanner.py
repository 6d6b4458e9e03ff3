"""A scanner that also counts: frames, bytes, the size of a message across its fragments; and that knows types.

The law is that of `protocol.scanner`: what a limit forbids is known from a header, before a byte of that frame goes on.
How much may come at a time its owner says, by `frames` and `octets`; no clock is read in here. Whether the bytes come
in one piece or singly makes no difference to what goes on, nor to where it stops.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from wsguard.protocol.frames import MAX_CONTROL_PAYLOAD, Opcode
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.scanner import FrameScanner, Sender

_DENIED = -1  # in place of what a frame's first byte says: a message of a type that may not be sent
_ALL_CLOSER = (0,) * 256  # no frame is passed over by its second byte alone: each is counted

LIMITS = (
    CloseReason.MESSAGE_RATE,
    CloseReason.BANDWIDTH,
    CloseReason.MESSAGE_TOO_BIG,
    CloseReason.MESSAGE_TYPE_DENIED,
)
"""The names of the limits, which are those of the endings."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What is looked at; None and False: it is not. `max_message_size` is bytes of payload as sent on the wire,
    `types` the opcodes of messages that may be sent."""

    counts_frames: bool = False
    counts_octets: bool = False
    max_message_size: int | None = None
    types: Collection[Opcode] | None = None


class LimitedScanner(FrameScanner):
    """Stops at the first frame or byte that is too much: `exceeded` says by which limit, `take_rest` gives what was
    not looked at yet.

    `frames` and `octets` are how many more may come before that, None: any number. A Close is never one frame too many.
    """

    __slots__ = ("_max_size", "_message_size", "_rest", "_unlimited", "exceeded", "frames", "octets")

    def __init__(self, sender: Sender, measure: Measure, *, strict: bool = True, reserved: int = 0) -> None:
        super().__init__(sender, strict=strict, reserved=reserved)
        self.frames: int | None = 0 if measure.counts_frames else None
        self.octets: int | None = 0 if measure.counts_octets else None
        self.exceeded: CloseReason | None = None
        self._max_size = measure.max_message_size
        self._message_size = 0
        self._rest = b""
        self._unlimited = self._starting, self._continuing
        if measure.types is not None:
            self._starting = self._table = _without(self._starting, measure.types, is_inside=False)
            self._continuing = _without(self._continuing, measure.types, is_inside=True)
        if measure.counts_frames:
            self._sizes = _ALL_CLOSER
        elif self._max_size is not None and self._max_size < 1 << 16:
            most = min(self._max_size, MAX_CONTROL_PAYLOAD)
            self._sizes = tuple(0 if byte & 0x7F > most else size for byte, size in enumerate(self._sizes))

    def feed(self, data: bytes) -> bytes:
        """As the scanner has it, as far as the limits go."""
        octets = self.octets
        if octets is None or self.halted:
            return super().feed(data)
        late = data[octets:]
        passed = super().feed(data[:octets] if late else data)
        if self._behind is not None:  # a pong of the guard's own, which is not counted
            came = len(data) - len(late) - len(self._behind)
            self.octets = octets - came + self._own_size
            self._behind += late
            return passed
        self.octets = octets - (len(data) - len(late) - len(self._rest))
        if late and self.close_code is None and self.violation is None:  # else nobody asks what comes behind
            self.exceeded = self.exceeded or CloseReason.BANDWIDTH
            self._rest += late
        return passed

    def take_rest(self) -> bytes:
        """What has not been looked at, to be fed again; nothing is exceeded any more."""
        rest, self._rest, self.exceeded = self._rest, b"", None
        return rest

    def spare(self, reason: CloseReason) -> None:
        """Keep to one of the limits no more."""
        match reason:
            case CloseReason.MESSAGE_RATE:
                self.frames = None
            case CloseReason.BANDWIDTH:
                self.octets = None
            case CloseReason.MESSAGE_TOO_BIG:
                self._max_size = None
            case CloseReason.MESSAGE_TYPE_DENIED:
                self._starting, self._continuing = self._unlimited
                self._table = self._continuing if self.in_message else self._starting

    def lift(self) -> None:
        """Keep to none of them."""
        for reason in LIMITS:
            self.spare(reason)

    def _look_closer(self, data: bytes, position: int, size: int, kind: int) -> int:
        if kind == _DENIED:
            return self._exceed(data, position, CloseReason.MESSAGE_TYPE_DENIED)
        is_close = data[position] & 0x0F == Opcode.CLOSE
        if self.frames == 0 and kind and not is_close and not self._may_be_own_pong(data, position):
            return self._exceed(data, position, CloseReason.MESSAGE_RATE)
        before = self.messages, self.in_message, self._table
        end = super()._look_closer(data, position, size, kind)
        if end < 0:
            return end
        if self.frames == 0 and kind and not is_close:
            return self._exceed(data, position, CloseReason.MESSAGE_RATE)
        length = end - position - _header(data[position + 1])
        if self._max_size is not None and not self._fits(data[position], length, before[1]):
            self.messages, self.in_message, self._table = before
            return self._exceed(data, position, CloseReason.MESSAGE_TOO_BIG)
        if self.frames and not is_close:
            self.frames -= 1
        return end

    def _fits(self, first: int, length: int, is_inside: bool) -> bool:
        assert self._max_size is not None
        is_control = first & 0x0F >= Opcode.CLOSE
        total = length + (self._message_size if is_inside and not is_control else 0)
        if total > self._max_size:
            return False
        if not is_control:
            self._message_size = total
        return True

    def _exceed(self, data: bytes, position: int, limit: CloseReason) -> int:
        self.left = 0
        self.exceeded = limit
        self._rest = data[position:]
        return ~position


def _without(table: tuple[int, ...], types: Collection[int], *, is_inside: bool) -> tuple[int, ...]:
    """`table` with the first bytes of messages that are not of `types` denied, but for those it forbids anyway.

    A continuation of no message, which only `framing: Transparent` passes, is of no type that could be allowed.
    """
    allowed = {*types, Opcode.CONTINUATION} if is_inside else types
    return tuple(
        kind if not kind or byte & 0x0F >= Opcode.CLOSE or byte & 0x0F in allowed else _DENIED
        for byte, kind in enumerate(table)
    )


def _header(second: int) -> int:
    """How long a frame's header is, by its second byte (RFC 6455 §5.2)."""
    return 2 + {126: 2, 127: 8}.get(second & 0x7F, 0) + (4 if second & 0x80 else 0)
