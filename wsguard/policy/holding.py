"""Whether one connection can be held when its backend is lost, and what is said then: decided when it opens."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from wsguard.policy.model import WebSocketPolicy
from wsguard.policy.model_hold import BackendLoss, Hold
from wsguard.protocol.bearing import HINTS, SUBPROTOCOLS, state_of
from wsguard.protocol.frames import message_frame
from wsguard.protocol.replay import FirstMessages, Recorder, Subscriptions


def is_held(policy: WebSocketPolicy | None) -> bool:
    """Whether `policy` holds clients. No extension is negotiated then: its context would be lost with the backend."""
    return policy is not None and policy.spec.backend_loss is BackendLoss.HOLD


def why_not(policy: WebSocketPolicy, subprotocol: str) -> str | None:
    """What keeps a connection from being held whose backend has chosen `subprotocol` ("": none); None: nothing."""
    spec = policy.spec
    if spec.backend_loss is not BackendLoss.HOLD or spec.hold is None:
        return "the policy does not hold"
    needed = SUBPROTOCOLS.get(spec.hold.protocol)
    speaks = subprotocol or "no subprotocol"
    if needed is not None:
        return None if subprotocol == needed else f"the backend speaks {speaks}, and {needed} is what can be held"
    if (why := state_of(subprotocol)) is not None:
        return f"{subprotocol} cannot be held: {why}"
    if subprotocol and subprotocol not in spec.limits.subprotocols:
        return f"the backend speaks {subprotocol}, which limits.subprotocols does not list"
    return None


def terms(policy: WebSocketPolicy, offers: Sequence[str]) -> str | None:
    """On what it depends whether a client that offers these subprotocols is held, as a sentence; None: it is not."""
    if not is_held(policy):
        return None
    borne = [name or "no subprotocol" for name in (*offers, "") if why_not(policy, name) is None]
    if borne:
        return f"held when its backend is lost, if that has chosen {' or '.join(borne)}"
    return f"not held when its backend is lost: {why_not(policy, next(iter(offers), ''))}"


def recorder(hold: Hold) -> Recorder | None:
    """Who keeps what is to be said again; None: nothing is."""
    replay = hold.replay
    if replay is None:
        return None
    if replay.json_path is not None:
        return Recorder(FirstMessages(replay.messages, replay.json_path, replay.values))
    return Recorder(Subscriptions(replay.messages))


@lru_cache(maxsize=256)  # connections of one policy share the frame
def hint(hold: Hold) -> bytes:
    """The frame that tells the client that another backend serves it now."""
    return HINTS[hold.protocol] if hold.hint is None else message_frame(hold.hint)
