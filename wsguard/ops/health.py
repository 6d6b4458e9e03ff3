"""What the probes answer from: nothing outside this process."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Health:
    """`started` is set once, when the guard listens with a loaded policy."""

    started: bool = False
