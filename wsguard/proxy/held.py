"""What stands in the place of a backend's transport: one lets a recorder hear, one keeps what has no backend to go to.

A connection whose policy does not hold has neither, and pays nothing. The client's half knows of neither: its limits,
its flow control and its endings are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from wsguard.protocol.mailbox import Mailbox
from wsguard.protocol.replay import Recorder
from wsguard.proxy.half import Half, Pause


class Overheard:
    """A backend's transport, of which a recorder hears what goes to it, until that has heard enough."""

    def __init__(self, half: Half, recorder: Recorder) -> None:
        self._half = half
        self._transport = half.transport
        self._recorder = recorder

    def write(self, data: bytes) -> None:
        """To the recorder, and on its way."""
        self._recorder.feed(data)
        if self._recorder.is_done:
            self.leave()
        self._transport.write(data)

    def leave(self) -> None:
        """Hear no more of it: the half has its transport back."""
        self._half.transport = self._transport

    def __getattr__(self, name: str) -> Any:
        """All else is the transport's own."""
        return getattr(self._transport, name)


class Store(Protocol):
    """Who counts what all clients that are held have said."""

    @property
    def is_full(self) -> bool:
        """Whether nobody is to be read any further."""
        ...

    def keep(self, size: int) -> None:
        """So many bytes more, or less."""
        ...


class Held:
    """Keeps what `client` says while `vacant` has no transport of its own; beyond `bound` bytes it is not read."""

    def __init__(self, client: Half, vacant: Half, bound: int, store: Store, is_whole: Callable[[], None]) -> None:
        """`is_whole` is called once a message that was under way at the backend's loss has ended."""
        self._client = client
        self._vacant = vacant
        self._transport = vacant.transport
        self._bound = bound
        self._store = store
        self._is_whole = is_whole
        self.mailbox = Mailbox(client.scanner.left, client.scanner.in_message)
        client.unpause(Pause.SINK)  # it may have been the backend before that did not keep up
        self.read_on()

    def write(self, data: bytes) -> None:
        """Keep it; a Ping is answered, if the client takes the answers."""
        mailbox = self.mailbox
        before, was_whole = len(mailbox), mailbox.is_whole
        pong = mailbox.feed(data)
        self._store.keep(len(mailbox) - before)
        if pong and not self._client.paused:
            self._client.transport.write(pong)
        self.read_on()
        if mailbox.is_whole and not was_whole:
            self._is_whole()

    def is_closing(self) -> bool:
        """There is nothing to pause, to resume or to end."""
        return True

    def read_on(self) -> None:
        """Read the client, or not, as there is room: as if a backend kept up, or did not."""
        is_full = self._store.is_full or len(self.mailbox) >= self._bound
        if is_full and not self._vacant.paused:
            self._vacant.pause_writing()
        elif not is_full and self._vacant.paused:
            self._vacant.resume_writing()

    def leave(self) -> bytes:
        """It is over; returns what was kept, from the beginning of a message on. Nobody has this for a transport."""
        self._vacant.transport = self._transport
        self._store.keep(-len(self.mailbox))
        return self.mailbox.take()
