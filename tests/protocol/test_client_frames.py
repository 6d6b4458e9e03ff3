"""A client's stream, however it is cut: the pieces of each frame are that frame, and control frames come whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.streams import cut
from tests.support import wire
from wsguard.protocol.client_frames import Frames, Piece, payload

DATA = (wire.TEXT, wire.BINARY, wire.CONTINUATION)
FRAMES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(DATA), st.sampled_from([0, 1, 125, 126, 300, 66_000]), st.booleans()),
        st.tuples(st.sampled_from([wire.PING, wire.PONG]), st.integers(0, 125), st.just(True)),
    ),
    max_size=5,
)


@given(FRAMES, st.lists(st.sampled_from([1, 2, 3, 7, 130, 5_000]), max_size=60))
def test_any_cut_gives_the_same_frames(frames: list[tuple[int, int, bool]], sizes: list[int]) -> None:
    sent = [(opcode, fin, wire.frame(opcode, b"x" * size, fin=fin)) for opcode, size, fin in frames]
    reader = Frames()
    pieces: list[Piece] = []
    for chunk in cut(b"".join(raw for *_, raw in sent), sizes):
        pieces += reader.feed(chunk)
    assert not reader.is_within
    assert reader.pending == b""
    read, frame = [], b""
    for piece in pieces:
        assert piece.begins == (frame == b"")
        frame += piece.data
        if piece.ends:
            read.append((piece.opcode, piece.fin, frame))
            frame = b""
        else:
            assert piece.opcode in DATA, "a control frame comes whole"
    assert read == sent
    assert [payload(raw) for *_, raw in read] == [b"x" * size for _, size, _ in frames]


def test_it_begins_within_a_frame() -> None:
    pieces = list(Frames(3, fin=False).feed(b"abc" + wire.frame(wire.TEXT, b"next")))
    assert (pieces[0].data, pieces[0].fin, pieces[0].begins, pieces[0].ends) == (b"abc", False, False, True)
    assert pieces[1].opcode == wire.TEXT


def test_half_a_control_frame_is_pending() -> None:
    reader, ping = Frames(), wire.frame(wire.PING, b"p" * 20)
    assert list(reader.feed(ping[:9])) == []
    assert reader.pending == ping[:9]
