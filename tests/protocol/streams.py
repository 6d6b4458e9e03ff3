"""Streams of frames, and two ways to cut them."""

from __future__ import annotations

import itertools

from hypothesis import strategies as st

from tests.support import wire
from wsguard.protocol.scanner import Sender

SENDERS = {Sender.CLIENT: True, Sender.BACKEND: False}
"""Whether the frames of each are masked."""


def frames(masked: bool) -> st.SearchStrategy[list[bytes]]:
    """Legal streams: messages in any number of fragments, with control frames between them, no Close."""
    payload = st.binary(max_size=40) | st.sampled_from([bytes(n) for n in (0, 125, 126, 65535, 65536)])
    control = st.builds(lambda op, p: wire.frame(op, p[:125], masked=masked), st.sampled_from((9, 10)), payload)
    message = st.tuples(st.sampled_from((wire.TEXT, wire.BINARY)), st.lists(payload, min_size=1, max_size=3))

    def fragments(item: tuple[int, list[bytes]]) -> list[bytes]:
        opcode, parts = item
        last = len(parts) - 1
        return [
            wire.frame(wire.CONTINUATION if at else opcode, part, fin=at == last, masked=masked)
            for at, part in enumerate(parts)
        ]

    return st.lists(control.map(lambda frame: [frame]) | message.map(fragments), max_size=6).map(
        lambda groups: [frame for group in groups for frame in group]
    )


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """`data` in pieces of the given sizes, and what is left of it."""
    chunks, at = [], 0
    for size in [*sizes, len(data)]:
        chunks.append(data[at : at + size])
        at += size
    return chunks


def chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data` cut at the given places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(places)]
