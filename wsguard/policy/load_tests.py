"""Text of `*.test.yaml` files in; tests out, or every problem at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from wsguard.policy.documents import read_document
from wsguard.policy.model_base import Reading
from wsguard.policy.model_policy_test import PolicyTest, Request, Trial
from wsguard.policy.problems import Problem, nearest
from wsguard.policy.yaml_source import Node, Place, SourceText, read_documents

REFERENCE = re.compile(r"\$\{(?P<encoding>base64url:)?(?P<name>[^}]*)\}")
"""How a request mentions a token."""

_KINDS = {"PolicyTest": PolicyTest}


@dataclass(frozen=True, slots=True)
class WrittenTest:
    """A document of tests and where it stands."""

    test: PolicyTest
    node: Node

    def place(self, trial: Trial) -> Place:
        """Where `trial` is written."""
        return self.node.at(("spec", "tests", self.test.spec.tests.index(trial)))


def load_tests(source: SourceText) -> tuple[tuple[WrittenTest, ...], tuple[Problem, ...]]:
    """The documents of one file that are in order, and what is wrong with the others. Raises nothing."""
    nodes, errors = read_documents(source)
    problems = [Problem.at(error.place, error.why) for error in errors]
    written = []
    for node in nodes:
        test, _, found = read_document(node, _KINDS, Reading(""))
        problems += found
        if test is not None:
            written.append(WrittenTest(test, node))
            problems += _unknown_tokens(written[-1])
    if not nodes and not errors:
        problems.append(Problem.at(Place(source.file, 1, 1), "there is no document here"))
    return tuple(written), tuple(problems)


def values(request: Request) -> Iterator[str]:
    """Every value of `request` that may mention a token."""
    yield request.url
    yield from request.headers.values()
    yield from request.cookies.values()
    if request.first_message is not None:
        yield request.first_message


def _unknown_tokens(written: WrittenTest) -> Iterator[Problem]:
    tokens = written.test.spec.tokens
    for number, trial in enumerate(written.test.spec.tests):
        mentioned = {found["name"] for value in values(trial.request) for found in REFERENCE.finditer(value)}
        for name in sorted(mentioned - tokens.keys()):
            near = nearest(name, tuple(tokens))
            hint = f"; did you mean {near}?" if near else ""
            place = written.node.at(("spec", "tests", number, "request"))
            yield Problem.at(place, f'no token has the name "{name}"{hint}')
