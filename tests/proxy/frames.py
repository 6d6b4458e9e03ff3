"""Frames that are the same each time, and the one that the guard adds to a stream of them."""

from __future__ import annotations

from bisect import bisect_left

from tests.support import wire


def frame(opcode: int, payload: bytes, masked: bool, *, fin: bool = True) -> bytes:
    """A frame whose mask, if it has one, is always the same: a failure must be repeatable."""
    plain = wire.frame(opcode, payload, fin=fin, masked=False)
    head = plain[: len(plain) - len(payload)]
    return bytes((head[0], head[1] | 0x80, *head[2:])) + bytes(4) + payload if masked else plain


def guard_close(sent: bytes, source: bytes) -> bytes:
    """What stands in `sent` behind the part that `source` said: nothing, or one Close of the guard's own."""
    if source.startswith(sent):
        return b""
    passed = bisect_left(range(len(sent)), True, key=lambda n: not source.startswith(sent[: n + 1]))
    # A Close of the guard's may begin like the source's next frame: walk back to where a frame begins.
    rest = bytearray(sent)
    at = 0
    while True:
        before = len(rest)
        read = wire.take_frame(rest)
        assert read is not None, "the guard injected into the middle of a frame"
        end = at + before - len(rest)
        if end > passed:
            assert read.opcode == wire.CLOSE, "what is not the peer's is a Close"
            assert not rest, "nothing follows a Close"
            return sent[at:end]
        at = end
