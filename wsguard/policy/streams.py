"""Which HTTP requests are judged as streams (`streams`), and as what."""

from __future__ import annotations

from dataclasses import dataclass

from wsguard.policy.policy_set import PolicySet
from wsguard.protocol.authority import Authority
from wsguard.protocol.http import RequestHead
from wsguard.protocol.stream_request import asks_for_events
from wsguard.protocol.target import BadTarget, read_path, readings
from wsguard.sessions.connection import Stream


@dataclass(frozen=True, slots=True)
class Reach:
    """What is judged where a request goes: `streams`, less WebSocket.

    Of a target that can be read in several ways it is what is judged at any of them: a judged request must not be had
    in a spelling that only the backend understands.
    """

    streams: frozenset[Stream]

    def asked_as(self, head: RequestHead) -> Stream | None:
        """What `head` is judged as before the backend sees it; None: not at all, or by the answer."""
        if Stream.SERVER_SENT_EVENTS in self.streams and asks_for_events(head):
            return Stream.SERVER_SENT_EVENTS
        return Stream.LONG_POLLING if Stream.LONG_POLLING in self.streams else None


def reach(policies: PolicySet, authority: Authority, target: str) -> Reach:
    """What `policies` judge of a request for `target` on `authority`."""
    try:
        found = [policies.find(authority, read_path(target))]
    except BadTarget:
        paths = readings(target)
        found = list(policies.policies) if paths is None else [policies.find(authority, path) for path in paths]
    streams = {stream for policy in found if policy is not None for stream in policy.spec.streams}
    return Reach(frozenset(streams - {Stream.WEB_SOCKET}))
