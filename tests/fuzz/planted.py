"""A target with a fault, which nobody fixes: a Close of 1 byte, that Strict refuses, is called impossible."""

from __future__ import annotations

from tests.support import wire
from wsguard.protocol.scanner import FrameScanner, Sender

SEEDS = [wire.frame(wire.TEXT, b"hello") + wire.frame(wire.CLOSE, b"\x03\xe8")]


def check(data: bytes) -> None:
    """Raise at a Close with half a code, which no seed has."""
    scanner = FrameScanner(Sender.CLIENT)
    scanner.feed(data)
    if scanner.violation == "Close with half a code":
        raise AssertionError("planted: this is what a fuzzer must find")
