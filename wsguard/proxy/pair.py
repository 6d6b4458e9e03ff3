"""The two halves of one connection, and what can be done to them without breaking a frame in two.

Decides nothing: `proxy.splice` says what happens, this module where in the stream of bytes it may. A Close of the
guard's own stands at a frame boundary of what the other side has sent, or nowhere.
"""

from __future__ import annotations

from wsguard.protocol.scanner import FrameScanner, Sender
from wsguard.proxy.half import Half, Pause
from wsguard.sessions.connection import Traffic

REST_OF_FRAME = 65_536
"""Bytes of an unfinished frame that are read on towards a client that is not reading, so that its Close can follow."""


class Pair:
    """The client's half and the backend's; None where there is none yet, or no more."""

    __slots__ = ("backend", "client")

    def __init__(self) -> None:
        self.client: Half | None = None
        self.backend: Half | None = None

    def join(self, client: Half, backend: Half) -> None:
        """From now on each is the other's sink."""
        self.client, self.backend = client, backend
        client.sink, backend.sink = backend, client

    def let_go(self) -> None:
        """It is over. The halves hold each other and the splice: let go, so that nothing waits for the collector."""
        for half in (self.client, self.backend):
            if half is not None:
                half.sink = half.closing = None
        self.client = self.backend = None

    def other(self, half: Half) -> Half | None:
        """The opposite half, or None."""
        return self.backend if half.is_client else self.client

    def traffic(self) -> Traffic:
        """What has passed so far."""
        client, backend = self.client, self.backend
        return Traffic(
            client.messages_in if client else 0,
            client.bytes_in if client else 0,
            backend.messages_in if backend else 0,
            backend.bytes_in if backend else 0,
        )

    def begin(self, from_backend: bytes, from_client: bytes) -> None:
        """Read both, after what each has sent behind its part of the handshake."""
        for half in (self.backend, self.client):
            if half is not None:
                half.begin()
        for half, early in ((self.backend, from_backend), (self.client, from_client)):
            if half is not None and early:
                half.data_received(early)
        for half in (self.backend, self.client):
            if half is not None and half.sink is not None and half.sink.paused:
                half.sink.pause_writing()  # when that began, it had no half yet
            elif half is not None:
                half.unpause(Pause.SINK)

    def close_client(self, frame: bytes) -> None:
        """Send the client `frame`, a Close, at the next boundary of what the backend has sent."""
        source = self.backend
        if self.client is None or source is None:
            return
        source.closing = frame
        if source.scanner.left == 0:
            source.inject()
        elif source.lost or source.eof_received_already:
            self.give_up_boundary(source)
        elif source.scanner.left <= REST_OF_FRAME:
            source.resume()

    def close_backend(self, frame: bytes) -> None:
        """Send the backend `frame`, a masked Close, at the next boundary of what the client has sent."""
        source, backend = self.client, self.backend
        if source is None or backend is None:
            return
        source.closing = frame
        if source.scanner.left == 0:
            source.inject()
        elif backend.paused and source.scanner.left > REST_OF_FRAME:
            source.discard()  # it does not read, and the client's reply to our Close must not wait for it
            backend.abort()
        else:
            source.resume()

    def pass_on_close(self, half: Half) -> None:
        """The Close that the scanner of `half` has withheld goes on after all."""
        frame = half.scanner.withheld
        if frame and half.sink is not None:
            half.bytes_in += len(frame)
            half.sink.transport.write(frame)

    def vacate(self) -> tuple[Half, Half]:
        """Put the half of nobody into the place of the backend's, at a frame's beginning; returns the old and the new.

        What has passed counts on. The client's Close can be put in here as ever.
        """
        client, gone = self.client, self.backend
        assert client is not None
        assert gone is not None  # else there is no backend to lose
        vacant = Half(gone.splice, FrameScanner(Sender.BACKEND), is_client=False)
        vacant.transport, vacant.lost = gone.transport, True
        vacant.bytes_in, vacant.scanner.messages = gone.bytes_in, gone.messages_in
        gone.sink = gone.closing = None
        self.join(client, vacant)
        return gone, vacant

    def give_up_boundary(self, half: Half) -> None:
        """`half` will send no more: a Close that waits for the end of its frame has nowhere to stand."""
        if half.closing is None:
            return
        half.discard()
        other = self.other(half)
        if other is not None:
            other.hang_up()

    def hang_up(self, half: Half | None) -> None:
        """Send what is queued for `half` and a FIN, unless a Close is still to come: then behind that."""
        if half is None:
            return
        source = self.other(half)
        if source is None or source.closing is None:
            half.hang_up()  # else when the Close that is still to come has been injected

    def end_backend_input(self) -> None:
        """Mirror the client's FIN."""
        if self.backend is not None:
            self.backend.end_input()

    def abort(self, half: Half | None) -> None:
        """Drop whatever is queued for `half`."""
        if half is not None:
            half.abort()

    def discard(self, *, client: bool, backend: bool) -> None:
        """Pass on nothing more of what the named ones send, unless a Close waits there for its boundary."""
        for half, is_meant in ((self.client, client), (self.backend, backend)):
            if half is not None and is_meant and half.closing is None:
                half.discard()
