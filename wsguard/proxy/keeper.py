"""What a splice asks of whoever holds its client when the backend is lost (`proxy.holding`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from wsguard.sessions.identity import Identity

if TYPE_CHECKING:
    from wsguard.proxy.pair import Pair
    from wsguard.proxy.splice import Splice


class Keeper(Protocol):
    """Decides whether the client can be held, and holds it."""

    @property
    def problem(self) -> str | None:
        """Why the client could not be held when it was asked for last; None: it could, or there was no loss."""
        ...

    def watch(self, splice: Splice, pair: Pair) -> None:
        """The pair has been joined: see what passes, as far as that is to be said again."""
        ...

    def bears(self, pair: Pair, code: int | None) -> bool:
        """Whether the client can be held now that the backend is gone; `code` is that of its Close, if it sent one."""
        ...

    def hold(self) -> None:
        """Keep what the client says, and look for a backend."""
        ...

    def release(self) -> None:
        """No more of that: the connection ends."""
        ...

    def renewed(self, identities: Sequence[Identity]) -> None:
        """The connection lives by `identities` from now on."""
        ...
