"""All that holds at one moment: the policies, the guard's own settings, and where each policy was written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from wsguard.policy.matching import Matcher
from wsguard.policy.model import GuardSpec, WebSocketPolicy
from wsguard.policy.yaml_source import Place
from wsguard.protocol.authority import Authority


@dataclass(frozen=True, slots=True)
class PolicySet:
    """Policies without conflicts. `places` tells by name where each was written, unless built in."""

    policies: tuple[WebSocketPolicy, ...]
    guard: GuardSpec = field(default_factory=GuardSpec)
    places: Mapping[str, Place] = field(default_factory=dict)
    _matcher: Matcher = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_matcher", Matcher(self.policies))

    def find(self, authority: Authority, path: str) -> WebSocketPolicy | None:
        """The most specific policy for `path` (decoded) on `authority`, or None."""
        return self._matcher.find(authority, path)
