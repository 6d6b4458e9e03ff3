"""A policy that looks for tokens everywhere, and Ann, who has one."""

from __future__ import annotations

from typing import Any

from tests.policy.minting import provider
from tests.proxy.tunnel import QUICK
from tests.support import wire
from wsguard.policy.model import (
    CookieSource,
    ExtractFrom,
    HeaderSource,
    Jwt,
    MissingOrigin,
    OriginSpec,
    ParamSource,
    PolicySpec,
    SubprotocolSource,
)
from wsguard.sessions.identity import Identity

EVERYWHERE = ExtractFrom(
    cookies=(CookieSource(name="session", forward=False),),
    headers=(HeaderSource(name="Authorization", value_prefix="Bearer ", forward=False),),
    params=(ParamSource(name="access_token"),),
    subprotocols=(SubprotocolSource(prefix="bearer."),),
)

BEARER = wire.upgrade(fields=[("Authorization", "Bearer t")])
"""A handshake with a token in one of these places."""


def ann(expires_at: float = 1e10) -> Identity:
    """Ann's identity, as the verifier has found it."""
    claims = {"sub": "ann", "exp": expires_at}
    return Identity(
        "corp", "https://idp.example.test", "ann", "header:authorization", "s1", "j1", 1.0, expires_at, claims
    )


ANN = ann()


def with_login(extract: ExtractFrom = EVERYWHERE, **fields: Any) -> PolicySpec:
    """A policy that looks for tokens everywhere and tells the backend who it is."""
    corp = provider("HS256", extract_from=extract, claim_to_headers=({"claim": "sub", "header": "X-User"},))
    open_to_programs = OriginSpec(missing=MissingOrigin.ALLOW)
    return PolicySpec(**{"jwt": Jwt(providers=(corp,)), "rejection": QUICK, "origin": open_to_programs, **fields})
