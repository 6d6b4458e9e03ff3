"""What will happen in a storm, and when: drawn from a seed before it begins, so that a seed is a storm."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

Fault = Literal["guard", "engine", "silent link", "stalled link", "reset link"]
"""Killed by SIGKILL and started again; and what becomes of the link between a guard and the engine."""

Manner = Literal["sid", "jti", "subject", "older"]
"""What a log-out names. `older`: what the subject was given before its newest session."""

FAULTS: tuple[Fault, ...] = ("guard", "engine", "silent link", "silent link", "stalled link", "reset link")
MANNERS: tuple[Manner, ...] = ("sid", "jti", "subject", "older")
SESSIONS = 2
"""Sessions of each user, the last one the newest."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """At `at`, something breaks for `lasts` seconds; `guard` says whose, where it is not the engine."""

    at: float
    fault: Fault
    guard: int
    lasts: float


@dataclass(frozen=True, slots=True)
class Ending:
    """At `at`, a log-out of `user` is told to `guard`; None: a script writes it into the stream."""

    at: float
    user: int
    session: int
    manner: Manner
    guard: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """A storm of `seconds`. `places` has the guard at which each session's client begins."""

    seconds: float
    places: tuple[tuple[int, ...], ...]
    endings: tuple[Ending, ...]
    troubles: tuple[Trouble, ...]


def plan(rng: Random, seconds: float, users: int, guards: int, calm: float = 1.0, longest: float = 4.5) -> Plan:
    """Log-outs all the time; faults, each of at most `longest` seconds, but in the first `calm` seconds.

    While something is broken, one more log-out is told to the very guard that suffers from it.
    """
    places = tuple(tuple(rng.randrange(guards) for _ in range(SESSIONS)) for _ in range(users))
    troubles = []
    at = calm
    while at < seconds:
        troubles.append(Trouble(at, rng.choice(FAULTS), rng.randrange(guards), rng.uniform(0.3, longest)))
        at += rng.expovariate(0.8)
    endings = [_ending(rng, rng.uniform(0.2, seconds), users, _anyone(rng, guards)) for _ in range(users * 2 // 3)]
    endings += [_ending(rng, it.at + rng.uniform(0.0, it.lasts), users, it.guard) for it in troubles]
    return Plan(seconds, places, tuple(endings), tuple(troubles))


def _ending(rng: Random, at: float, users: int, guard: int | None) -> Ending:
    return Ending(at, rng.randrange(users), rng.randrange(SESSIONS), rng.choice(MANNERS), guard)


def _anyone(rng: Random, guards: int) -> int | None:
    return rng.randrange(guards) if rng.random() < 0.75 else None
