"""The part of a WebSocketPolicy on how clients are sent to another guard before this one ends."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from wsguard.policy.fields import PositiveDuration, duration
from wsguard.policy.model_base import Model
from wsguard.policy.model_session import own_message
from wsguard.protocol.dialects import HEED, Dialect


class MigrationHint(Model):
    """What a client is told before its connection is closed, while it still works."""

    dialect: Dialect
    """The language of the client: custom, socket.io, signalr, graphql-ws, mqtt5 or phoenix."""
    message: Annotated[str, AfterValidator(own_message)] = HEED
    """With `custom`: the text message that the client is sent, as it stands."""
    grace: PositiveDuration = duration("10s")
    """How long the connection goes on after the hint; in a drain at most half of its window."""


class Migration(Model):
    """How clients are sent to another guard."""

    hint: MigrationHint
    """Sent to each client before its close, so that it can open its next connection first."""
