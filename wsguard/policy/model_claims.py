"""Verified claims that the backend is told, whoever vouched for them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from wsguard.policy.fields import Text
from wsguard.policy.model_base import Model, unique
from wsguard.policy.model_extraction import HeaderName


class ClaimToHeader(Model):
    """A verified claim that the backend is told in a header field."""

    claim: Text
    """The claim; dots lead into nested ones."""
    header: HeaderName
    """The header field; what a client sends under this name is removed."""


def _one_claim_a_header(value: tuple[ClaimToHeader, ...]) -> tuple[ClaimToHeader, ...]:
    unique((item.header.lower().replace("_", "-") for item in value), "claims' headers")
    return value


ClaimsToHeaders = Annotated[tuple[ClaimToHeader, ...], AfterValidator(_one_claim_a_header)]
