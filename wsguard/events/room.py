"""Everything in this package, put together for one guard."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from random import Random

from wsguard.events import backchannel, shared_signals
from wsguard.events.assemble import Files, open_channel, open_streams
from wsguard.events.backchannel import BackChannelEndpoint
from wsguard.events.bus import Bus
from wsguard.events.detection import LogoutDetector, Voucher
from wsguard.events.follower import Follower
from wsguard.events.observer import Observer
from wsguard.events.pushed import Intake, Keys, Route, Source
from wsguard.events.shared_counts import SharedCounts
from wsguard.events.shared_signals import SharedSignalsEndpoint
from wsguard.policy.event_tokens import read_logout_token, read_security_event
from wsguard.policy.model import BackChannelLogout, SessionEvents, SharedSignals
from wsguard.policy.policy_set import PolicySet
from wsguard.sessions.clock import Clock
from wsguard.sessions.denylist import DenyList
from wsguard.sessions.registry import Registry


class SessionEventsRoom:
    """The sources of `spec` at work. `files` gives what the named files hold now; `issuers` whom the policies trust,
    `policies` gives those in force. `detector` takes what the proxy sees of the application's own log-outs.
    Raises MissingExtra where the library of a stream is not installed.
    """

    def __init__(
        self,
        spec: SessionEvents,
        files: Files,
        keys: Keys,
        registry: Registry,
        deny_list: DenyList,
        clock: Clock,
        observer: Observer,
        issuers: Callable[[], Collection[str]],
        policies: Callable[[], PolicySet],
        vouch: Voucher,
        rng: Random,
    ) -> None:
        self._spec = spec
        self._files = files
        self._keys = keys
        self._clock = clock
        self.bus = Bus(registry, deny_list, clock, observer, issuers, spec.on_gap)
        self.bus.followers = [
            Follower(stream, self.bus, observer, spec.on_outage, rng)
            for stream in open_streams(spec, files, clock.wall())
        ]
        self.bus.look_again()
        channel = open_channel(spec, files)
        self._counts = (
            None
            if channel is None
            else SharedCounts(channel, registry.census, clock, observer, partial(_has_caps, policies), rng)
        )
        self.detector = LogoutDetector(self.bus, registry, deny_list, clock, observer, policies, vouch)

    def start(self) -> None:
        """Follow the streams, on the running loop."""
        for follower in self.bus.followers:
            follower.start()
        if self._counts is not None:
            self._counts.start()

    async def close(self) -> None:
        """Leave the streams."""
        if self._counts is not None:
            await self._counts.close()
        await self.detector.close()
        for follower in self.bus.followers:
            await follower.close()

    @property
    def is_ready(self) -> bool:
        """False while handshakes must wait for a stream."""
        return self.bus.is_ready

    def routes(self) -> Mapping[str, Route]:
        """The handlers of the public port, by path."""
        routes: dict[str, Route] = {}
        logouts = [spec for spec in self._spec.sources if isinstance(spec, BackChannelLogout)]
        signals = [spec for spec in self._spec.sources if isinstance(spec, SharedSignals)]
        if logouts:
            intake = Intake([Source.of(spec) for spec in logouts], read_logout_token, self.bus, self._keys, self._clock)
            routes[backchannel.PATH] = BackChannelEndpoint(intake)
        if signals:
            named = [Source.of(spec) for spec in signals]
            intake = Intake(named, read_security_event, self.bus, self._keys, self._clock)
            routes[shared_signals.PATH] = SharedSignalsEndpoint(intake, self._files)
        return routes


def _has_caps(policies: Callable[[], PolicySet]) -> bool:
    return any(policy.spec.limits.connections is not None for policy in policies().policies)
