"""Which policy a request is for: the most specific host, and there the most specific path.

Law: one request, one policy, whatever the order of the files. Two policies that claim the same host and path
are an error when they are loaded, and what no policy claims is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import re2

from wsguard.policy.hosts import HostPattern
from wsguard.policy.model import PathMatch, PathType, WebSocketPolicy
from wsguard.protocol.authority import Authority

_EVERY_PATH = PathMatch(type=PathType.PATH_PREFIX, value="/")


class Conflict(NamedTuple):
    """Two policies that claim the same requests; `what` says which, for the operator."""

    first: WebSocketPolicy
    second: WebSocketPolicy
    what: str


class _Claim(NamedTuple):
    """One host (None: every one) and one path, in a spelling in which equal claims are equal."""

    host: HostPattern | None
    type: PathType
    value: str

    def __str__(self) -> str:
        path = f"{self.type.value} {self.value or '/'}"
        return f"{path} on {self.host or 'every host'}"


def conflicts(policies: Iterable[WebSocketPolicy]) -> list[Conflict]:
    """Every claim that a policy makes although an earlier one does, in the order of the policies.

    Two different regular expressions may match the same path and are no conflict: the longer one wins.
    """
    first: dict[_Claim, WebSocketPolicy] = {}
    return [
        Conflict(first[claim], policy, str(claim))
        for policy in policies
        for claim in _claims(policy)
        if first.setdefault(claim, policy) is not policy
    ]


class Matcher:
    """Finds the policy of a request. Built once, for policies without conflicts, and never changed."""

    def __init__(self, policies: Iterable[WebSocketPolicy]) -> None:
        self._exact: dict[str, _Paths] = {}
        self._below: dict[str, _Paths] = {}
        self._anywhere = _Paths()
        for policy in policies:
            for claim in _claims(policy):
                self._paths(claim.host).add(claim, policy)

    def find(self, authority: Authority, path: str) -> WebSocketPolicy | None:
        """The policy for `path` (as `target.read_path` reads it) on `authority`, or None.

        The exact host comes first, then the longest wildcard, then policies without hosts. A host whose
        policies do not claim the path leaves it to the next. On one host: Exact, then RegularExpression, then
        the longest PathPrefix.
        """
        for paths in self._candidates(authority.host):
            policy = paths.find(path)
            if policy is not None:
                return policy
        return None

    def _paths(self, host: HostPattern | None) -> _Paths:
        if host is None:
            return self._anywhere
        hosts = self._below if host.wildcard else self._exact
        return hosts.setdefault(host.host, _Paths())

    def _candidates(self, host: str) -> Iterator[_Paths]:
        if host in self._exact:
            yield self._exact[host]
        _, dot, parent = host.partition(".")
        while dot:
            if parent in self._below:
                yield self._below[parent]
            _, dot, parent = parent.partition(".")
        yield self._anywhere


@dataclass(slots=True)
class _Paths:
    """The paths claimed on one host. `patterns` and `prefixes` are kept longest first."""

    exact: dict[str, WebSocketPolicy] = field(default_factory=dict)
    patterns: list[tuple[str, Any, WebSocketPolicy]] = field(default_factory=list)
    prefixes: list[tuple[str, WebSocketPolicy]] = field(default_factory=list)

    def add(self, claim: _Claim, policy: WebSocketPolicy) -> None:
        if claim.type is PathType.EXACT:
            self.exact[claim.value] = policy
        elif claim.type is PathType.REGULAR_EXPRESSION:
            self.patterns.append((claim.value, _compile(claim.value), policy))
            self.patterns.sort(key=lambda entry: (-len(entry[0]), entry[0]))
        else:
            self.prefixes.append((claim.value, policy))
            self.prefixes.sort(key=lambda entry: -len(entry[0]))

    def find(self, path: str) -> WebSocketPolicy | None:
        if path in self.exact:
            return self.exact[path]
        if self.patterns:
            # RE2 reads UTF-8 only: a byte that is none must still be a character that `.` and `[^/]` match.
            text = path.encode(errors="surrogateescape").decode(errors="replace")
            for _, pattern, policy in self.patterns:
                if pattern.fullmatch(text):
                    return policy
        for prefix, policy in self.prefixes:
            if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/"):
                return policy
        return None


def _claims(policy: WebSocketPolicy) -> Iterator[_Claim]:
    match = policy.spec.match
    for host in match.hostnames or (None,):
        for path in match.paths or (_EVERY_PATH,):
            value = path.value.rstrip("/") if path.type is PathType.PATH_PREFIX else path.value
            yield _Claim(host, path.type, value)


def _compile(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = True  # else a %0A would lead past the policy
    return re2.compile(pattern, options)
