"""What a client says while it has no backend.

Its messages are kept as they came, whole; a Ping is answered in the backend's stead, and no other control frame is
kept: the one that it was for is gone. The rest of a message whose beginning went to the lost backend is dropped.
"""

from __future__ import annotations

from wsguard.protocol.client_frames import Frames, payload
from wsguard.protocol.frames import Opcode, control_frame


class Mailbox:
    """Is fed what the client's scanner lets pass. `left` and `in_message` are that scanner's, at the backend's loss."""

    __slots__ = ("_frames", "_is_lost", "_kept", "has_lost", "messages")

    def __init__(self, left: int, in_message: bool) -> None:
        self._frames = Frames(left, fin=not in_message)
        self._kept = bytearray()
        self._is_lost = self.has_lost = bool(left) or in_message
        self.messages = 0  # whole ones, kept

    def __len__(self) -> int:
        """How many bytes are kept."""
        return len(self._kept)

    @property
    def is_whole(self) -> bool:
        """Whether what is kept begins with a message: what was lost has come to its end."""
        return not self._is_lost

    def feed(self, data: bytes) -> bytes:
        """Keep what is to be kept; returns the Pong that is due, or nothing. Of several Pings the last is answered."""
        pong = b""
        for piece in self._frames.feed(data):
            if piece.opcode == Opcode.PING:
                pong = control_frame(Opcode.PONG, payload(piece.data))
            elif piece.opcode >= Opcode.CLOSE:
                continue
            elif self._is_lost:
                self._is_lost = not (piece.fin and piece.ends)
            else:
                self._kept += piece.data
                self.messages += piece.fin and piece.begins
        return pong

    def take(self) -> bytes:
        """All that was kept; the last message of it may have yet to end, and what comes of it then is not ours."""
        taken = bytes(self._kept) + self._frames.pending
        self._kept.clear()
        return taken
