"""What there is to say about manifests: problems, which keep them from being injected, and notes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from wsguard.kubernetes.tree import Node


@dataclass(slots=True)
class Report:
    """Collects sentences with the character each is about. `origin` leads from the text that was read to the user's."""

    origin: Callable[[int], int] = lambda index: index
    problems: list[tuple[int, str]] = field(default_factory=list)
    notes: list[tuple[int, str]] = field(default_factory=list)

    def problem(self, node: Node, message: str) -> None:
        """Something that makes injecting impossible, or less than a guard."""
        self.problems.append((self.origin(node.start), message))

    def note(self, node: Node, message: str) -> None:
        """Something the operator has to know."""
        self.notes.append((self.origin(node.start), message))
