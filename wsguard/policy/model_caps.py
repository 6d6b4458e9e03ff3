"""The parts of `limits` that are decided at the door: how many connections, how many handshakes, which extensions."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from pydantic import AfterValidator, Field

from wsguard.policy.fields import Count, token
from wsguard.policy.model_base import Model, unique
from wsguard.policy.model_rate import Rate

_Cap = Annotated[Count | None, Field(ge=1, validate_default=True)]


class Newcomer(Enum):
    """What becomes of a handshake for which there is no room."""

    REFUSE_NEW = "RefuseNew"
    CLOSE_OLDEST = "CloseOldest"


class Connections(Model):
    """How many connections of the policy may be open at once; handshakes under way count.

    On this guard, or with a stream in `sessionEvents` on all that share it, as far as they have told.
    """

    total: _Cap = None
    """Of all."""
    per_subject: _Cap = None
    """Of one issuer's subject."""
    per_client_ip: _Cap = None
    """From one address; of IPv6, from one network of 64 bits."""
    per_origin: _Cap = None
    """From the pages of one Origin. No Origin: not counted."""
    per_session: _Cap = None
    """Of one session, by the token's `sid`. No `sid`: not counted."""
    unauthenticated: _Cap = None
    """Of those whom no credential speaks for, and of those who are waited for to say one (`firstMessage`)."""
    on_exceed: Newcomer = Newcomer.REFUSE_NEW
    """RefuseNew, or CloseOldest: a newcomer that was let in closes the one that has been there longest."""


class Handshakes(Model):
    """How often handshakes may come, whatever becomes of them."""

    per_client_ip: Rate
    """From one address; of IPv6, from one network of 64 bits."""


class Compression(Enum):
    """What becomes of permessage-deflate (RFC 7692)."""

    ALLOW = "Allow"
    DENY = "Deny"


def _distinct(value: tuple[str, ...]) -> tuple[str, ...]:
    unique(value, "extensions")
    return value


Extensions = Annotated[tuple[Annotated[str, *token("the name of an extension")], ...], AfterValidator(_distinct)]
WindowBits = Annotated[Count | None, Field(ge=9, le=15, validate_default=True)]
