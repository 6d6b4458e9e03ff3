"""What the probes answer from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Health:
    """`started` is set once, when the guard listens with a loaded policy.

    `has_heard` says whether the streams of session events, as far as handshakes must wait for them, have been read.
    """

    started: bool = False
    has_heard: Callable[[], bool] = lambda: True
