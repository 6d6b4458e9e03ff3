"""Limits on what flows from a client in a second."""

from __future__ import annotations

from wsguard.policy.model import Bandwidth, ByteRate, Limits, Messages, OnExceed, Rate, Unit


def messages(requests: int, burst: int, on_exceed: OnExceed = OnExceed.CLOSE) -> Limits:
    """So many messages, or so many at once."""
    rate = Rate(requests=requests, unit=Unit.SECOND, burst=burst)
    return Limits(messages=Messages(per_connection=rate, on_exceed=on_exceed))


def bandwidth(size: int, burst: int, on_exceed: OnExceed = OnExceed.CLOSE) -> Limits:
    """So many bytes, or so many at once."""
    rate = ByteRate(size=size, unit=Unit.SECOND, burst=burst)
    return Limits(bandwidth=Bandwidth(per_connection=rate, on_exceed=on_exceed))
