"""What replicas say to one another, by the plain publish and subscribe of NATS.

JetStream must not store it, so the subject is not below that of the stream; where a stream has it all the same, nothing
is said, or every count would be read back as a session event that nobody understands.
"""

from __future__ import annotations

import asyncio
import json
import ssl

from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from wsguard.events.nats_client import Options, connect, describe, leave
from wsguard.events.source import PATIENCE, POLL, StreamAway

_BUFFERED = 8 * 1024 * 1024  # bytes that may have come and were not looked at yet; more is dropped


class NatsChannel:
    """See `channel.Channel`; beside the stream of this `subject`."""

    name = "NATSJetStream"

    def __init__(self, options: Options, subject: str) -> None:
        self.topic = subject
        self._options = options
        self._subject = f"wsguard-counts.{subject}"
        self._client: Client | None = None
        self._ears: Subscription | None = None

    async def open(self) -> None:
        """Connect and listen; see `channel.Channel`."""
        await self.close()
        try:
            self._client = await connect(self._options)
            self._ears = await self._client.subscribe(self._subject, pending_bytes_limit=_BUFFERED)
            # Its answer says as well that the server knows the subscription, which came before it on this connection.
            asked = json.dumps({"subject": self._subject}).encode()
            answer = await self._client.request("$JS.API.STREAM.NAMES", asked, timeout=PATIENCE)
            if streams := json.loads(answer.data).get("streams"):
                raise ValueError(f"the stream {streams[0]} stores what is published under {self._subject}")
        except (NatsError, OSError, ValueError, TimeoutError, ssl.SSLError) as error:
            raise StreamAway(describe(error)) from None

    async def hear(self) -> bytes | None:
        """The next message; see `channel.Channel`."""
        if self._client is None or self._ears is None:
            raise StreamAway("not connected")
        try:
            return (await self._ears.next_msg(POLL)).data
        except TimeoutError:
            if self._client.is_connected:
                return None
            raise StreamAway("the connection has ended") from None
        except (NatsError, OSError, ValueError, ssl.SSLError) as error:
            raise StreamAway(describe(error)) from None

    async def say(self, document: bytes) -> None:
        """Let all hear `document`; see `channel.Channel`."""
        if self._client is None:
            raise StreamAway("not connected")
        try:
            async with asyncio.timeout(PATIENCE):
                await self._client.publish(self._subject, document)
        except (NatsError, OSError, ValueError, TimeoutError, ssl.SSLError) as error:
            raise StreamAway(describe(error)) from None

    async def close(self) -> None:
        """End the connection."""
        client, self._client, self._ears = self._client, None, None
        if client is not None:
            await leave(client)
