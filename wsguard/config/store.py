"""Everything that holds at one moment, read from files as one whole: policies, and the keys that they name.

A snapshot is complete or is not made: a key that is missing or too short is an error as a bad policy is.
"""

from __future__ import annotations

import hashlib
import os
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wsguard.config.files import Stamp, UnreadableError, all_policy_files, policy_files, read_bytes, stamp
from wsguard.config.keys import NamedFiles, read_named
from wsguard.config.tls import backend_context, listener_context
from wsguard.policy.handshake_token import TokenKeys
from wsguard.policy.keys import KeySet
from wsguard.policy.load import LoadResult, load
from wsguard.policy.overrides import Overrides
from wsguard.policy.policy_set import PolicySet
from wsguard.policy.problems import Problem, Severity
from wsguard.policy.yaml_source import MAX_BYTES, Place, SourceText

_NO_OVERRIDES = Overrides()
_ATTEMPTS = 5
_REVISION_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Policies and keys as they were read, at `loaded_at` (seconds since the epoch).

    `key_files` has the bytes of each file that a policy or the guard names, by the name that the model has for
    it; `local_keys` has the key sets in them, `token_keys` the keys of handshake tokens. `revision` is a short digest
    of everything that was read, and `stamp` tells whether the file system still has it so. `listener_tls` is what the
    public port speaks, None where that is no TLS, and `backend_tls` what is trusted of each backend with TLS, by name.
    `warnings` are what is legal but dangerous.
    """

    policy_set: PolicySet
    key_files: Mapping[str, bytes] = field(repr=False)
    local_keys: Mapping[str, KeySet] = field(repr=False)
    token_keys: Mapping[str, TokenKeys] = field(repr=False)
    stamp: Stamp = field(repr=False)
    revision: str
    loaded_at: float
    listener_tls: ssl.SSLContext | None = field(default=None, repr=False)
    backend_tls: Mapping[str, ssl.SSLContext] = field(default_factory=dict, repr=False)
    warnings: tuple[Problem, ...] = ()


class ConfigError(Exception):
    """The files cannot be used; the message has an error a line.

    `problems` are everything there is to say, warnings too; `stamp` is of the files that were looked at.
    """

    def __init__(self, problems: Sequence[Problem], stamp: Stamp) -> None:
        super().__init__("\n".join(str(each) for each in problems if each.severity is Severity.ERROR))
        self.problems = tuple(problems)
        self.stamp = stamp


@dataclass(frozen=True, slots=True)
class Examination:
    """One reading of the files, whatever it found. `is_settled`: none of them changed meanwhile.

    `unreadable` are the problems of files that could not be read; they are among `problems`.
    """

    sources: tuple[SourceText, ...]
    loaded: LoadResult
    named: NamedFiles
    problems: tuple[Problem, ...]
    unreadable: tuple[Problem, ...]
    stamp: Stamp
    is_settled: bool


def read(paths: Sequence[Path], overrides: Overrides = _NO_OVERRIDES, now: Callable[[], float] = time.time) -> Snapshot:
    """Read the policies in `paths` and the keys that they name, as of one moment; without paths, the built-in policy.

    Files that change while they are read are read again. Raises ConfigError with every problem.
    """
    examined = examine(paths, overrides)
    for _ in range(_ATTEMPTS):
        if examined.is_settled:
            break
        examined = examine(paths, overrides)
    problems = (*examined.problems, *examined.named.absent)
    policy_set = examined.loaded.policy_set
    if policy_set is None or any(problem.severity is Severity.ERROR for problem in problems):
        raise ConfigError(problems, examined.stamp)
    if not examined.is_settled:
        raise ConfigError([_at(paths[0], "the files change faster than they can be read")], examined.stamp)
    guard, files = policy_set.guard, examined.named.contents
    return Snapshot(
        policy_set=policy_set,
        key_files=files,
        local_keys=examined.named.local_keys,
        token_keys=examined.named.token_keys,
        stamp=examined.stamp,
        revision=_revision(examined),
        loaded_at=now(),
        listener_tls=None if guard.listener.tls is None else listener_context(guard.listener.tls, files),
        backend_tls={each.name: backend_context(each, files) for each in guard.backends if each.is_tls},
        warnings=problems,
    )


def examine(paths: Sequence[Path], overrides: Overrides = _NO_OVERRIDES) -> Examination:
    """Read everything once and say what is wrong with it. Raises nothing."""
    before = stamp(all_policy_files(paths))
    sources, unreadable = _read_sources(paths)
    # No policy at all is what a path without files must not come to mean.
    loaded = load(sources, overrides) if sources or not paths else LoadResult(None, ())
    keys = sorted({file.file for file in loaded.key_files})
    keys_before = stamp(keys)
    named = read_named(loaded.key_files)
    return Examination(
        sources=sources,
        loaded=loaded,
        named=named,
        problems=(*unreadable, *loaded.problems, *named.problems),
        unreadable=tuple(unreadable),
        stamp={**before, **keys_before},
        is_settled=stamp(all_policy_files(paths)) == before and stamp(keys) == keys_before,
    )


def _read_sources(paths: Sequence[Path]) -> tuple[tuple[SourceText, ...], list[Problem]]:
    sources: dict[str, SourceText] = {}  # by what the name resolves to: a file in two of the paths is one file
    problems = []
    for path in paths:
        try:
            files = policy_files(path)
        except UnreadableError as error:
            problems.append(_at(path, str(error)))
            continue
        for file in files:
            try:
                sources[os.path.realpath(file)] = SourceText(str(file), read_bytes(file, MAX_BYTES))
            except UnreadableError as error:
                problems.append(_at(file, str(error)))
    return tuple(sources.values()), problems


def _at(path: Path, message: str) -> Problem:
    return Problem.at(Place(str(path), 1, 1), message)


def _revision(examined: Examination) -> str:
    digest = hashlib.sha256()
    texts = [(each.file, each.text) for each in examined.sources if isinstance(each.text, bytes)]
    for name, data in (*texts, *sorted(examined.named.contents.items())):
        for part in (name.encode(errors="surrogateescape"), data):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:_REVISION_LENGTH]
