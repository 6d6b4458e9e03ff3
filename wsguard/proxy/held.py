"""Who stands in the place of a client's half: one hears what may have to be said again, one keeps what has no backend.

A connection whose policy does not hold has neither, and pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from wsguard.protocol.mailbox import Mailbox
from wsguard.protocol.replay import Recorder
from wsguard.proxy.half import Half
from wsguard.proxy.interjection import Stand


class Listener(Stand):
    """Passes everything on, and lets a recorder hear it, until that has heard enough."""

    def __init__(self, half: Half, recorder: Recorder) -> None:
        super().__init__(half)
        self._recorder = recorder

    def data_received(self, data: bytes) -> None:
        """First on its way, then to the recorder."""
        half, recorder = self._half, self._recorder
        recorder.feed(data)
        if recorder.is_done:
            half.transport.set_protocol(half)
        half.data_received(data)


class Store(Protocol):
    """Who counts what all clients that are held have said."""

    @property
    def is_full(self) -> bool:
        """Whether nobody is to be read any further."""
        ...

    def keep(self, size: int) -> None:
        """So many bytes more, or less."""
        ...


class Held(Stand):
    """Keeps what the client says. `bound` is how many bytes; beyond it the client is not read."""

    def __init__(self, half: Half, bound: int, store: Store, is_whole: Callable[[], None]) -> None:
        """`is_whole` is called once a message that was under way at the backend's loss has ended."""
        super().__init__(half)
        self._bound = bound
        self._store = store
        self._is_whole = is_whole
        self.mailbox = Mailbox(half.scanner.left, half.scanner.in_message)
        half.transport.set_protocol(self)
        self.read_on()

    def data_received(self, data: bytes) -> None:
        """Keep it; a Ping is answered, a Close or a violation is told."""
        half, mailbox = self._half, self.mailbox
        before, was_whole, messages = len(mailbox), mailbox.is_whole, half.scanner.messages
        pong = mailbox.feed(half.scanner.feed(data))
        self._store.keep(len(mailbox) - before)
        if pong and not half.paused:
            half.transport.write(pong)
        if half.scanner.messages != messages:
            half.splice.touch()
        if half.scanner.halted:
            half.splice.halted(half)
            return
        if mailbox.is_whole and not was_whole:
            self._is_whole()
        self.read_on()

    def read_on(self) -> None:
        """Read the client, or not, as there is room."""
        half = self._half
        if half.lost or half.transport.is_closing():
            return
        if half.paused or self._store.is_full or len(self.mailbox) >= self._bound:
            half.transport.pause_reading()
        else:
            half.transport.resume_reading()

    def pause_writing(self) -> None:
        """The client does not take its Pongs: ask for no more of them."""
        super().pause_writing()
        self.read_on()

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self.read_on()

    def leave(self) -> bytes:
        """Step aside; returns what was kept, from the beginning of a message on."""
        self._store.keep(-len(self.mailbox))
        if not self._half.lost:
            self._half.transport.set_protocol(self._half)
        return self.mailbox.take()
