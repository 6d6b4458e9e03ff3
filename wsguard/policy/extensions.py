"""Which of the extensions that a client offers its backend may be offered (`limits`)."""

from __future__ import annotations

from wsguard.policy.holding import is_held
from wsguard.policy.model import Compression, Enforcement, WebSocketPolicy
from wsguard.protocol.extensions import Terms, restricted
from wsguard.protocol.handshake import Handshake


def terms(policy: WebSocketPolicy | None) -> Terms | None:
    """What the policy lets the two agree on; None: anything."""
    limits = policy.spec.limits if policy is not None else None
    if limits is None:
        return None
    is_denied = limits.compression is Compression.DENY
    if not (is_denied or limits.extensions or limits.compression_window_bits):
        return None
    names = frozenset(name.lower().encode("ascii") for name in limits.extensions) or None
    return Terms(names, is_denied, limits.compression_window_bits)


def negotiable(handshake: Handshake, policy: WebSocketPolicy | None) -> bytes | None:
    """What the backend is offered. A policy that only audits takes nothing away; one that holds clients everything."""
    if is_held(policy):
        return None
    wanted = terms(policy)
    if wanted is None or policy is None or policy.spec.enforcement is Enforcement.AUDIT:
        return handshake.extensions
    return restricted(handshake.extensions, wanted)


def has_bounds(policy: WebSocketPolicy | None) -> bool:
    """Whether the windows of what the backend is offered are bounded."""
    if policy is None or policy.spec.enforcement is Enforcement.AUDIT:
        return False
    return policy.spec.limits.compression_window_bits is not None


def withheld(handshake: Handshake, policy: WebSocketPolicy | None) -> str:
    """What a policy takes out of an offer, or would, did it not only audit: a sentence, or nothing."""
    wanted = terms(policy)
    if is_held(policy) and handshake.extensions is not None:
        return "backendLoss takes every extension out of the offer"
    if wanted is None or handshake.extensions is None:
        return ""
    left = restricted(handshake.extensions, wanted)
    if left is None:
        return "limits takes every extension out of the offer"
    changed = b"".join(left.split()) != b"".join(handshake.extensions.split())
    return f"limits makes the offer of extensions {left.decode('latin-1')}" if changed else ""


def spared(handshake: Handshake, policy: WebSocketPolicy) -> str:
    """`withheld`, for the log of a policy that only audits; else nothing."""
    is_audited = policy.spec.enforcement is Enforcement.AUDIT and not is_held(policy)
    what = withheld(handshake, policy) if is_audited else ""
    return f"not enforced: {what}" if what else ""
