"""What is wrong about a client that is to be held while its backend is away."""

from __future__ import annotations

from collections.abc import Iterator

from wsguard.policy.model import Framing, WebSocketPolicy
from wsguard.policy.model_hold import BackendLoss, Hold, Replay
from wsguard.policy.problems import Finding, Severity
from wsguard.protocol.bearing import SUBPROTOCOLS, HeldProtocol, state_of

_LONG = 300.0  # seconds; whoever waits for longer has asked somebody else

Path = tuple[str | int, ...]


def check_hold(policy: WebSocketPolicy) -> Iterator[Finding]:
    """A hold that cannot be, and what it does not do."""
    spec, path = policy.spec, ("spec", "hold")
    if spec.backend_loss is not BackendLoss.HOLD:
        if spec.hold is not None:
            yield Finding(path, "without effect: backendLoss is Close", Severity.ERROR)
        return
    if spec.hold is None:
        message = "Hold needs `hold`, which says what is spoken: not every protocol bears another backend"
        yield Finding(("spec", "backendLoss"), message, Severity.ERROR)
        return
    if spec.framing is Framing.TRANSPARENT:
        message = "does not go with backendLoss Hold: what is held must be frames that the guard understands"
        yield Finding(("spec", "framing"), message, Severity.ERROR)
    if spec.hold.give_up_after > _LONG:
        yield Finding((*path, "giveUpAfter"), "very long: the client hears nothing for all that time")
    yield from _check_subprotocols(policy, spec.hold)
    if spec.hold.protocol is HeldProtocol.CUSTOM:
        yield from _check_custom(spec.hold)
    else:
        yield from _check_own_words(spec.hold)


def _check_subprotocols(policy: WebSocketPolicy, hold: Hold) -> Iterator[Finding]:
    listed, path = policy.spec.limits.subprotocols, ("spec", "limits", "subprotocols")
    needed = SUBPROTOCOLS.get(hold.protocol)
    if needed is not None and listed and needed not in listed:
        message = f"{hold.protocol.value} is held where {needed} is spoken, which is not listed here"
        yield Finding(path, message, Severity.ERROR)
    for i, name in enumerate(listed):
        if needed is None and (why := state_of(name)) is not None:
            message = f"{name} cannot be held: {why}; a policy of its own may close when the backend is lost"
            yield Finding((*path, i), message, Severity.ERROR)
        elif needed is not None and name != needed:
            yield Finding((*path, i), f"connections that speak {name} are not held: hold.protocol is another one")


def _check_custom(hold: Hold) -> Iterator[Finding]:
    path: Path = ("spec", "hold")
    if hold.hint is None:
        message = '"hint" is missing: what tells the client that another backend serves it now'
        yield Finding(path, message, Severity.ERROR)
    if hold.replay is None:
        return
    for name, value in (("jsonPath", hold.replay.json_path), ("values", hold.replay.values)):
        if not value:
            message = f'"{name}" is missing: which messages are safe to repeat'
            yield Finding((*path, "replay"), message, Severity.ERROR)


def _check_own_words(hold: Hold) -> Iterator[Finding]:
    path, name = ("spec", "hold"), hold.protocol.value
    if hold.hint is not None:
        yield Finding((*path, "hint"), f"{name} has words of its own: a hint goes with custom", Severity.ERROR)
    replay: Replay | None = hold.replay
    if replay is None:
        message = '"replay" is missing: a backend that hears no connection_init closes the connection'
        yield Finding(path, message, Severity.ERROR)
        return
    for key, value in (("jsonPath", replay.json_path), ("values", replay.values)):
        if value:
            message = f"{name} knows what is safe to repeat: {key} goes with custom"
            yield Finding((*path, "replay", key), message, Severity.ERROR)
