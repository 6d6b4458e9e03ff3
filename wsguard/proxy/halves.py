"""Which halves a connection gets: plain ones, or such as keep to the limits of its policy.

What is not limited costs nothing: a connection without limits never meets the code that keeps to them.
"""

from __future__ import annotations

from wsguard.policy.model import Framing, Limits, PolicySpec
from wsguard.protocol.limited_scanner import LimitedScanner, Measure
from wsguard.protocol.scanner import FrameScanner, Sender
from wsguard.proxy.half import Half
from wsguard.proxy.limited import LimitedHalf
from wsguard.proxy.watched import Clockwork, FlowOwner, WatchedHalf


def make_halves(owner: FlowOwner, spec: PolicySpec, reserved: int, clockwork: Clockwork) -> tuple[Half, Half]:
    """The client's half and the backend's; `reserved` is what `protocol.scanner.reserved_bits` found.

    The limits are those of `spec` for the connection's whole life: no reload changes them.
    """
    strict, slow = spec.framing is Framing.STRICT, spec.limits.slow_consumer

    def plain(sender: Sender) -> Half:
        scanner, is_client = FrameScanner(sender, strict=strict, reserved=reserved), sender is Sender.CLIENT
        if slow is None:
            return Half(owner, scanner, is_client)
        return WatchedHalf(owner, scanner, is_client, slow, clockwork)

    measure = measure_of(spec.limits)
    if measure == Measure():
        return plain(Sender.CLIENT), plain(Sender.BACKEND)
    scanner = LimitedScanner(Sender.CLIENT, measure, strict=strict, reserved=reserved)
    return LimitedHalf(owner, scanner, spec.limits, clockwork), plain(Sender.BACKEND)


def measure_of(limits: Limits) -> Measure:
    """What must be looked at to keep a client to `limits`."""
    return Measure(
        counts_frames=limits.messages is not None,
        counts_octets=limits.bandwidth is not None,
        max_message_size=limits.max_message_size,
        types=tuple(each.opcode for each in limits.message_types) or None,
    )
