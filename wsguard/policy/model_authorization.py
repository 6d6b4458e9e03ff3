"""The `authorization` part of a WebSocketPolicy: rules in order, the first that matches decides."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from pydantic import Field

from wsguard.policy.cel import MAX_LENGTH, CelExpression
from wsguard.policy.fields import Cidr, Name, Text
from wsguard.policy.model_base import Model, read_as


class Action(Enum):
    """What a rule says."""

    ALLOW = "Allow"
    DENY = "Deny"


class ClaimMatch(Model):
    """A claim that must have one of some values."""

    name: Text
    """The claim; dots lead into nested ones."""
    values: tuple[Text, ...] = Field(min_length=1)
    """Any of these; for a claim that is a list, one of its items."""


class JwtPrincipal(Model):
    """A caller as its token describes it."""

    provider: Name | None = None
    """The provider that vouched; absent: any."""
    claims: tuple[ClaimMatch, ...] = Field(default=(), min_length=1)
    """Claims that must all match."""
    scopes: tuple[Text, ...] = Field(default=(), min_length=1)
    """Scopes (`scope` or `scp`) that must all be there."""


class Principal(Model):
    """Who a rule is about: all parts that are given must match."""

    jwt: JwtPrincipal | None = None
    """What the token says."""
    client_cidrs: tuple[Cidr, ...] = Field(default=(), min_length=1)
    """Networks, one of which the client's address is in."""


class Rule(Model):
    """One rule; the first that matches decides."""

    name: Text | None = None
    """The rule's name in logs."""
    action: Action
    """What it says: Allow or Deny."""
    principal: Principal | None = None
    """Who it is about; absent: everyone."""
    cel: (
        Annotated[
            CelExpression,
            *read_as(CelExpression, CelExpression.parse, "an expression", minLength=1, maxLength=MAX_LENGTH),
        ]
        | None
    ) = None
    """A condition that must hold as well, in CEL; needs the extra `[cel]`."""


class Authorization(Model):
    """What a caller may do; absent: any verified credential is enough."""

    default_action: Action = Action.DENY
    """What is said where no rule matches."""
    rules: tuple[Rule, ...] = Field(default=(), min_length=1)
    """The rules, in order."""
