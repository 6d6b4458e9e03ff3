"""A handshake that is in the audit trail, judged again as far as its line tells.

A line has no credential, so only what comes before any is judged anew; what was found of the rest is quoted.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from wsguard.cli._audit_trail import Entry
from wsguard.cli._explanation import Step
from wsguard.cli._request import Url, handshake_to, request_to
from wsguard.policy.case import Case
from wsguard.policy.decision import Refuse
from wsguard.policy.effective import Effective, parse_ip
from wsguard.policy.judge import PLACE, is_only_audited
from wsguard.policy.policy_set import PolicySet
from wsguard.protocol.authority import parse_authority
from wsguard.protocol.handshake import HttpRefusal, read_handshake
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.stream_request import read_request
from wsguard.sessions.connection import Stream
from wsguard.sessions.denylist import DenyList

_SETTLED_EARLY = frozenset(
    reason.token for reason in (CloseReason.ORIGIN_DENIED, CloseReason.HOST_DENIED, CloseReason.NO_POLICY)
)


class NoHandshake(Exception):
    """The line tells of no handshake; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Replay:
    """The checks that could be made again, the first step being what the line says, and what follows from them."""

    steps: tuple[Step, ...]
    verdict: str


def replay(entry: Entry, policies: PolicySet, now: float) -> Replay:
    """What `policies` make of the handshake of `entry`. `now` is seconds since the epoch. Raises NoHandshake."""
    case = _case(entry, policies, now)
    steps = [_recorded(entry)]
    for name, check in PLACE:
        if name == "origin" and case.handshake.origin is None:
            steps.append(
                Step(name, True, "no Origin; whether a cookie came, which matters then, the line does not say")
            )
            continue
        result = check(case)
        steps.append(Step(name, not isinstance(result, Refuse), result.detail))
        if isinstance(result, Refuse):
            verb = "would be let through by a policy that only audits" if is_only_audited(case) else "would be refused"
            return Replay(tuple(steps), f"{verb} by the policies given: {result.reason.token}")
    return Replay(tuple(steps), _rest(entry))


def _rest(entry: Entry) -> str:
    reason = entry.text("reason")
    if reason in _SETTLED_EARLY:
        return "would pass what refused it then; its credentials, which are not in the line, decide"
    return f"as far as the line tells, as then: {entry.text('result')}{f', {reason}' if reason else ''}"


def _recorded(entry: Entry) -> Step:
    result = entry.text("result")
    said = ": ".join(word for word in (result, entry.text("reason"), entry.text("detail")) if word is not None)
    revision = entry.text("revision")
    under = "" if revision is None else f" under revision {revision}"
    return Step("recorded", result == "admitted", f"{said} ({entry.text('time')}{under})")


def _case(entry: Entry, policies: PolicySet, now: float) -> Case:
    host, path, client_ip = entry.text("host"), entry.text("path"), entry.text("client_ip")
    is_whole = entry.event == "handshake" and entry.text("result") is not None
    if not is_whole or host is None or path is None or client_ip is None:
        raise NoHandshake("a line of the event handshake is needed, with result, host, path and client_ip")
    origin = entry.text("origin")
    fields = [] if origin is None else [("Origin", origin)]
    try:
        stream = Stream(entry.text("stream") or Stream.WEB_SOCKET.value)
        url = Url(False, host, quote(path))
        if stream is Stream.WEB_SOCKET:
            handshake = read_handshake(handshake_to(url, fields))
        else:
            handshake = read_request(request_to(url, "GET", fields, None))
        authority = parse_authority(host)
    except ValueError as error:
        raise NoHandshake(f"the line cannot be read: {error}") from None
    if isinstance(handshake, HttpRefusal):
        raise NoHandshake(f"the line cannot be read: {handshake.why}")
    effective = Effective(parse_ip(client_ip), entry.text("scheme"), authority, trusted_peer=False)
    return Case(
        handshake, effective, policies.find(authority, handshake.path), policies, now, DenyList(), stream=stream
    )
