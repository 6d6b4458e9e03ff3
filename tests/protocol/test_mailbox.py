"""What is kept of a client without a backend: whole messages from their beginning, and nothing of a control frame."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.streams import cut
from tests.support import wire
from wsguard.protocol.mailbox import Mailbox
from wsguard.protocol.scanner import FrameScanner, Sender

PARTS = st.lists(st.lists(st.sampled_from([0, 5, 126, 70_000]), min_size=1, max_size=3), min_size=1, max_size=4)


def message(sizes: list[int]) -> bytes:
    """One message in so many fragments, with a Ping before each."""
    frames = b""
    for number, size in enumerate(sizes):
        opcode = wire.CONTINUATION if number else wire.BINARY
        frames += wire.frame(wire.PING, b"p") + wire.frame(opcode, bytes(size), fin=number == len(sizes) - 1)
    return frames


def read(stream: bytes) -> tuple[list[int], int]:
    """The sizes of the whole messages in a stream that begins with one; and what is left of it."""
    buffer, sizes, size = bytearray(stream), [], 0
    while (frame := wire.take_frame(buffer)) is not None:
        assert frame.opcode < wire.CLOSE
        assert (frame.opcode == wire.CONTINUATION) == (size > 0)
        size += len(frame.payload) + 1
        if frame.fin:
            sizes.append(size)
            size = 0
    return sizes, len(buffer) + size


@given(PARTS, st.integers(0, 200_000), st.lists(st.sampled_from([1, 3, 7, 130, 5_000]), max_size=40))
def test_wherever_the_backend_is_lost(messages: list[list[int]], when: int, sizes: list[int]) -> None:
    stream = b"".join(message(each) for each in messages)
    when = min(when, len(stream))
    scanner = FrameScanner(Sender.CLIENT)
    passed = scanner.feed(stream[:when])
    before = scanner.messages
    mailbox = Mailbox(scanner.left, scanner.in_message)
    was_under_way = bool(scanner.left) or scanner.in_message
    for chunk in cut(stream[when:], sizes):
        mailbox.feed(scanner.feed(chunk))
    assert mailbox.is_whole
    assert mailbox.has_lost == was_under_way
    kept, rest = read(mailbox.take())
    assert rest == 0
    assert len(kept) == mailbox.messages
    whole = [sum(each) + len(each) for each in messages]
    assert kept == whole[len(whole) - len(kept) :], "the last ones, whole and in order"
    lost = len(whole) - len(kept)
    heard, _ = read(_without_pings(passed))
    assert lost - len(heard) <= 1, "one at most, that was under way"
    assert before <= lost


def _without_pings(stream: bytes) -> bytes:
    buffer, kept = bytearray(stream), b""
    while buffer:
        rest = bytes(buffer)
        frame = wire.take_frame(buffer)
        if frame is None:
            break
        if frame.opcode < wire.CLOSE:
            kept += rest[: len(rest) - len(buffer)]
    return kept


def test_the_last_ping_is_answered_and_no_other() -> None:
    mailbox = Mailbox(0, False)
    pong = mailbox.feed(b"".join(wire.frame(wire.PING, bytes([number])) for number in range(3)))
    assert pong == wire.frame(wire.PONG, b"\x02", masked=False)
    assert len(mailbox) == 0


def test_a_control_frame_under_way_goes_to_the_next_backend() -> None:
    """Which gets the rest of it as well."""
    mailbox, ping = Mailbox(0, False), wire.frame(wire.PING, b"p" * 50)
    text = wire.frame(wire.TEXT, b"hello")
    mailbox.feed(text + ping[:20])
    assert mailbox.take() == text + ping[:20]
    assert len(mailbox) == 0
