"""What identity providers tell, as the claims of a good token."""

from __future__ import annotations

from tests.policy.minting import ISSUER, NOW
from wsguard.policy.event_tokens import BACKCHANNEL_LOGOUT, SESSION_REVOKED

LOGOUT = {
    "iss": ISSUER,
    "aud": "web",
    "iat": NOW - 1,
    "exp": NOW + 120,
    "jti": "t1",
    "events": {BACKCHANNEL_LOGOUT: {}},
    "sid": "s1",
}
"""A logout token, of Back-Channel Logout."""

REVOKED = {
    "iss": ISSUER,
    "aud": "guard",
    "iat": NOW - 1,
    "jti": "e1",
    "sub_id": {"format": "iss_sub", "iss": ISSUER, "sub": "ann"},
    "events": {SESSION_REVOKED: {"event_timestamp": NOW - 10}},
}
"""A security event, of Shared Signals."""
