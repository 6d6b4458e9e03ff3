"""Text of `*.test.yaml` files in; tests out, or every problem at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from wsguard.policy.documents import read_document
from wsguard.policy.model_base import Reading
from wsguard.policy.model_policy_test import PolicyTest, Trial
from wsguard.policy.problems import Problem, nearest
from wsguard.policy.yaml_source import Node, Place, SourceText, read_documents

REFERENCE = re.compile(r"\$\{(?P<encoding>base64url:)?(?P<name>[^}]*)\}")
"""How a request, or an answer of introspection, mentions a token."""

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


def _may_mention_tokens(trial: Trial) -> Iterator[tuple[str, str]]:
    """Each such value, and the key of the test under which it stands."""
    request = trial.request
    for value in (request.url, *request.headers.values(), *request.cookies.values(), request.first_message or ""):
        yield "request", value
    for token in trial.introspection or ():
        yield "introspection", token


def _unknown_tokens(written: WrittenTest) -> Iterator[Problem]:
    tokens = written.test.spec.tokens
    for number, trial in enumerate(written.test.spec.tests):
        values = _may_mention_tokens(trial)
        mentioned = {(key, found["name"]) for key, value in values for found in REFERENCE.finditer(value)}
        for key, name in sorted(mentioned):
            if name not in tokens:
                near = nearest(name, tuple(tokens))
                hint = f"; did you mean {near}?" if near else ""
                place = written.node.at(("spec", "tests", number, key))
                yield Problem.at(place, f'no token has the name "{name}"{hint}')
