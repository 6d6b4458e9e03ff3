"""Where frames begin and end in a stream of bytes that is otherwise not touched (RFC 6455 §5).

The law of this module: a header is judged before its bytes go on, and what went before it is delivered. A header that
is not whole yet is held back (at most 13 bytes), and so is a Close frame (at most 131) and a pong that may answer a
ping of the guard's own; everything else goes on as it came, in the same `bytes` object where possible. A consequence
that the splice relies on: whenever `left` is 0, what has been passed on ends at a frame boundary.
"""

from __future__ import annotations

from enum import Enum, auto

from wsguard.protocol.frame_rules import (
    CLOSE,
    CLOSER,
    CONTINUES,
    CONTROL,
    ENDS,
    FIN,
    FORBIDDEN,
    MEDIUM,
    RSV,
    SIZES,
    STARTS,
    TABLES,
    WHOLE,
    close_problem,
    first_byte_problem,
)
from wsguard.protocol.frames import MAX_CONTROL_PAYLOAD, apply_mask

_PING, _PONG = FIN | 0x9, FIN | 0xA
NO_STATUS = 1005  # RFC 6455 §7.4.1: what a Close without a code stands for; never on the wire


class Sender(Enum):
    """Whose frames are scanned: a client masks every frame, a server none (RFC 6455 §5.1)."""

    CLIENT = auto()
    BACKEND = auto()


def _run(data: bytes, position: int, step: int, size: int) -> int:
    """How many frames from `position` on are alike: a burst of them (ticks, telemetry) is one step for the scanner.

    All of them have the header bytes of the first, which fix the length; so each begins where the one before it ends.
    """
    count = (size - position) // step
    end = position + count * step
    for offset in range(4 if data[position + 1] & 0x7F == 126 else 2):
        if data[position + offset : end : step].count(data[position + offset]) != count:
            return 1
    return count


class FrameScanner:
    """Follows one direction of one connection, header by header.

    After `feed`, `halted` tells whether the stream is over for the scanner: either `violation` says (in a sentence)
    which rule of RFC 6455 the sender broke, or `close_code` is what its Close frame carried. Or it has only stopped
    for a pong whose payload is `own_pong` while `own_pongs_due` says that a ping of the guard's own may be unanswered:
    that one does not go on, and what came behind it is to be fed anew, see `behind_own_pong`.
    """

    __slots__ = (
        "_behind",
        "_continuing",
        "_held",
        "_mask_bit",
        "_overhead",
        "_sizes",
        "_starting",
        "_strict",
        "_table",
        "close_code",
        "halted",
        "has_unknown_extension",
        "in_message",
        "left",
        "messages",
        "own_pong",
        "own_pongs",
        "own_pongs_due",
        "pings",
        "violation",
        "withheld",
    )

    def __init__(self, sender: Sender, *, strict: bool = True, reserved: int = 0) -> None:
        """`reserved` is what `reserved_bits` found; `strict` False checks nothing but masking and length."""
        self._starting, self._continuing = TABLES[strict, reserved]
        self._table = self._starting
        self._mask_bit = 0x80 if sender is Sender.CLIENT else 0
        self._sizes = SIZES[self._mask_bit]
        self._overhead = 8 if self._mask_bit else 4  # of a frame with a 16-bit length
        self._strict = strict
        self.has_unknown_extension = reserved == RSV  # frames may mean what only it knows: none may be added to them
        self._held = b""
        self._behind: bytes | None = None
        self.own_pong = b""
        self.own_pongs_due = 0
        self.own_pongs = 0  # how many have been taken out
        self.pings = 0  # Pings that have gone on
        self.in_message = False  # between fragments: no data message may be injected here (RFC 6455 §5.4)
        self.left = 0  # bytes of the current frame that have not come yet
        self.messages = 0  # data messages whose last frame has begun
        self.close_code: int | None = None
        self.violation: str | None = None
        self.halted = False
        self.withheld: bytes | None = None  # b"": a Close is not to go on; then the frame that did not

    @property
    def takes_a_message(self) -> bool:
        """Whether a message of somebody else's may stand behind what has been passed on (RFC 6455 §5.4)."""
        return not (self.left or self.in_message or self.has_unknown_extension)

    @property
    def is_at_rest(self) -> bool:
        """Whether the sender is between two messages: not a byte of the next has come."""
        return not (self.left or self.in_message or self._held)

    def feed(self, data: bytes) -> bytes:
        """Scan the next bytes; returns those that may go on."""
        if self.halted:
            return b""
        size = len(data)
        position = self.left
        if position >= size:
            self.left = position - size
            return data
        if self._held:
            data = self._held + data
            size = len(data)
            self._held = b""
        table, sizes, overhead = self._table, self._sizes, self._overhead
        messages = 0
        while position < size - 1:
            kind = table[data[position]]
            if kind == WHOLE:  # nearly every frame: an unfragmented message, under 64 KiB
                step = sizes[data[position + 1]]
                if step == MEDIUM and size - position >= 4:
                    length = data[position + 2] << 8 | data[position + 3]
                    step = overhead + length if length > MAX_CONTROL_PAYLOAD else CLOSER
                if step > 0:
                    run = 1 if position + 2 * step > size else _run(data, position, step, size)
                    messages += run
                    position += run * step
                    continue
            end = self._look_closer(data, position, size, kind)
            if end < 0:
                self.messages += messages
                return data[:~end]
            table = self._table
            position = end
        self.messages += messages
        if position == size - 1:
            return data[: ~self._look_closer(data, position, size, table[data[position]])]
        self.left = position - size
        return data

    def behind_own_pong(self) -> bytes | None:
        """Whether the scanner has stopped only for a pong of the guard's own: then it goes on, with what is returned.

        None: it is something else that it has stopped for.
        """
        behind, self._behind = self._behind, None
        if behind is not None:
            self.halted = False
        return behind

    def _look_closer(self, data: bytes, position: int, size: int, kind: int) -> int:
        """Where the frame at `position` ends; or, where scanning stops here, `~` of how many bytes may go on."""
        if kind == FORBIDDEN:
            return self._refuse(position, first_byte_problem(data[position], self.in_message))
        if size - position < 2:
            return self._hold(data, position)
        second = data[position + 1]
        if second & 0x80 != self._mask_bit:
            return self._refuse(position, "masked frame" if second & 0x80 else "unmasked frame")
        length = second & 0x7F
        header = 2
        if length > MAX_CONTROL_PAYLOAD:
            header += 2 if length == 126 else 8
            if self._strict and kind in (CONTROL, CLOSE):
                return self._refuse(position, "control frame over 125 bytes")
            if size - position < header:
                return self._hold(data, position)
            length = int.from_bytes(data[position + 2 : position + header], "big")
            if length >> 63:
                return self._refuse(position, "length with the most significant bit set")
            if self._strict and length < (126 if header == 4 else 0x10000):
                return self._refuse(position, "length not in its shortest form")  # RFC 6455 §5.2
        end = position + header + (4 if self._mask_bit else 0) + length
        if kind == CLOSE and length <= MAX_CONTROL_PAYLOAD:
            return self._hold(data, position) if end > size else self._read_close(data, position, header, end)
        if kind > CLOSE:
            self._follow(kind)
        return end if kind != CONTROL else self._read_control(data, position, end, length)

    def _follow(self, kind: int) -> None:
        """A data frame: keep track of messages (RFC 6455 §5.4)."""
        self.messages += kind in (WHOLE, ENDS)
        self.in_message = kind in (STARTS, CONTINUES)
        self._table = self._continuing if self.in_message else self._starting

    def _hold(self, data: bytes, position: int) -> int:
        self.left = 0
        self._held = data[position:]
        return ~position

    def _refuse(self, position: int, why: str) -> int:
        self.left = 0
        self.violation = why
        self.halted = True
        return ~position

    def _read_close(self, data: bytes, position: int, header: int, end: int) -> int:
        payload = data[position + header : end]
        if self._mask_bit:
            payload = apply_mask(payload[4:], payload[:4])
        if self._strict and not data[position] & RSV and (problem := close_problem(payload)) is not None:
            return self._refuse(position, problem)
        self.left = 0
        self.close_code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else NO_STATUS
        self.halted = True
        if self.withheld is not None:
            self.withheld = data[position:end]
            return ~position
        return ~end

    def _read_control(self, data: bytes, position: int, end: int, length: int) -> int:
        """Where a Ping or a Pong ends; `~position` where scanning stops for it: it is not whole yet, or our own."""
        if data[position] == _PING:
            self.pings += 1
        if not self._may_be_own_pong(data, position):
            return end
        if end > len(data):
            return self._hold(data, position)
        payload = data[end - length : end]
        if self._mask_bit:
            payload = apply_mask(payload, data[end - length - 4 : end - length])
        if payload != self.own_pong:
            return end
        self.left = 0
        self.own_pongs += 1
        self.own_pongs_due -= 1
        self._behind = data[end:]
        self.halted = True
        return ~position

    def _may_be_own_pong(self, data: bytes, position: int) -> bool:
        """Whether the header at `position`, as far as it has come, is that of an answer to the guard's own ping."""
        second = data[position + 1 : position + 2]
        is_short = not second or second[0] & 0x7F == len(self.own_pong)
        return bool(data[position] == _PONG and self.own_pongs_due and is_short)

    @property
    def _own_size(self) -> int:
        return 2 + len(self.own_pong) + (4 if self._mask_bit else 0)
