"""What replicas say to one another and nobody keeps: who is not there does not hear it.

An engine that keeps a stream carries such words beside it, by a connection of their own with the same login.
"""

from __future__ import annotations

from typing import Protocol


class Channel(Protocol):
    """Everyone who listens hears everyone who speaks, and himself: tests/contracts/test_channels.py."""

    name: str
    """The type of the source, as in policy files."""
    topic: str
    """What the source calls its stream; replicas that share counts have the same."""

    async def open(self) -> None:
        """Connect and listen. Raises StreamAway; it may be called again after that."""
        ...

    async def hear(self) -> bytes | None:
        """The next message, or None after POLL seconds. Raises StreamAway."""
        ...

    async def say(self, document: bytes) -> None:
        """Let all hear `document`, those that listen now. Raises StreamAway."""
        ...

    async def close(self) -> None:
        """Leave, whatever state it is in."""
        ...
