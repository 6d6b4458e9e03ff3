"""Text in; policies out, or every problem at once. Loading raises nothing and has no effect on anything.

The kind of a document is read first, so that its errors are those of one type. A document with errors is still
compared with the others as far as its name and its `match` can be read.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pydantic import ValidationError

from wsguard.policy.documents import read_document
from wsguard.policy.key_files import KeyFile, key_files
from wsguard.policy.lint import lint_policy
from wsguard.policy.lint_caps import lint_addresses
from wsguard.policy.lint_logout import lint_watching
from wsguard.policy.lint_set import (
    lint_backends,
    lint_client_certificates,
    lint_drain,
    lint_events,
    lint_guard,
    lint_hosts,
    lint_shadows,
)
from wsguard.policy.matching import conflicts
from wsguard.policy.model import (
    DEFAULT_POLICY,
    GuardConfig,
    GuardSpec,
    Match,
    Metadata,
    PolicySpec,
    WebSocketPolicy,
)
from wsguard.policy.model_base import Reading
from wsguard.policy.overrides import Overrides
from wsguard.policy.policy_set import PolicySet
from wsguard.policy.problems import Finding, Problem, Severity
from wsguard.policy.yaml_source import Node, Place, SourceText, read_documents

_KINDS: dict[str, type[WebSocketPolicy] | type[GuardConfig]] = {
    "WebSocketPolicy": WebSocketPolicy,
    "GuardConfig": GuardConfig,
}
_BUILT_IN = Node(Place("built-in policy", 1, 1), {})
_NO_OVERRIDES = Overrides()


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What became of policy files. `policy_set` is None where any problem is an error.

    `problems` are in the order of the files. `key_files` are the files that the documents name.
    """

    policy_set: PolicySet | None
    problems: tuple[Problem, ...]
    key_files: tuple[KeyFile, ...] = ()

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that keep the policies from being used."""
        return tuple(problem for problem in self.problems if problem.severity is Severity.ERROR)


@dataclass(slots=True)
class _Documents:
    """What the files hold, each document with the text it came from.

    `claims` has every policy whose name and `match` can be read, those with errors elsewhere too.
    """

    policies: list[tuple[WebSocketPolicy, Node]] = field(default_factory=list)
    claims: list[tuple[WebSocketPolicy, Node]] = field(default_factory=list)
    guards: list[tuple[GuardConfig | None, Node]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    count: int = 0


def load(sources: Iterable[SourceText], overrides: Overrides = _NO_OVERRIDES) -> LoadResult:
    """Read `sources` as one whole, with flags in place of what they override.

    Without any source the policy that is built in holds: every path, SameHost, no credential demanded.
    """
    sources = tuple(sources)
    documents = _Documents()
    for source in sources:
        _read_source(source, documents)
    if not sources:
        documents.policies.append((DEFAULT_POLICY, _BUILT_IN))
    guard = overrides.apply(_guard_spec(documents))
    problems = [*documents.problems, *_across(documents, sources), *_lint(documents, guard)]
    order = {source.file: number for number, source in enumerate(sources)}
    problems.sort(key=lambda each: (order.get(each.file, len(order)), each.line, each.column))
    named = [item for written in (*documents.policies, *documents.guards) for item in _key_files(*written)]
    policy_set = None
    if not any(problem.severity is Severity.ERROR for problem in problems):
        places = {policy.name: node.place for policy, node in documents.policies if node is not _BUILT_IN}
        policy_set = PolicySet(tuple(policy for policy, _ in documents.policies), guard, places)
    return LoadResult(policy_set, tuple(problems), tuple(named))


def _read_source(source: SourceText, into: _Documents) -> None:
    nodes, errors = read_documents(source)
    known = {error.place for error in errors}
    into.problems += [Problem.at(error.place, error.why) for error in errors]
    into.count += len(nodes)
    for node in nodes:
        # What is no YAML of ours is no value either: one sentence about a place is enough.
        into.problems += [
            problem
            for problem in _read_document(node, Reading(posixpath.dirname(source.file)), into)
            if Place(problem.file, problem.line, problem.column) not in known
        ]


def _read_document(node: Node, reading: Reading, into: _Documents) -> list[Problem]:
    document, kind, problems = read_document(node, _KINDS, reading)
    if kind is not None:
        _keep(document, node, kind, into)
    return problems


def _keep(document: WebSocketPolicy | GuardConfig | None, node: Node, kind: str, into: _Documents) -> None:
    if isinstance(document, WebSocketPolicy):
        into.policies.append((document, node))
        into.claims.append((document, node))
    elif kind == GuardConfig.__name__:
        into.guards.append((document, node))
    elif (claim := _claim_of(node)) is not None:
        into.claims.append((claim, node))


def _claim_of(node: Node) -> WebSocketPolicy | None:
    """The name and the `match` of a policy that is wrong elsewhere."""
    metadata, match = node.get("metadata"), node.get("spec", "match")
    try:
        return WebSocketPolicy(
            metadata=Metadata.model_validate(metadata),
            spec=PolicySpec(match=Match() if match is None else Match.model_validate(match)),
        )
    except ValidationError:
        return None


def _guard_spec(documents: _Documents) -> GuardSpec:
    config = documents.guards[0][0] if documents.guards else None
    return GuardSpec() if config is None else config.spec


def _across(documents: _Documents, sources: tuple[SourceText, ...]) -> Iterator[Problem]:
    """What is wrong between documents: two of one name, two that claim the same, two GuardConfigs, none at all."""
    nodes = {id(policy): node for policy, node in documents.claims}
    first: dict[str, Place] = {}
    for policy, node in documents.claims:
        place = node.at(("metadata", "name"))
        if (other := first.setdefault(policy.name, place)) != place:
            yield Problem.at(place, f'two policies have the name "{policy.name}", the other one at {other}')
    for conflict in conflicts(policy for policy, _ in documents.claims):
        one, two = nodes[id(conflict.first)], nodes[id(conflict.second)]
        message = f'claims {conflict.what}, which policy "{conflict.first.name}" at {one.place} claims too'
        yield Problem.at(two.at(("spec", "match", "paths")), message)
    for _, node in documents.guards[1:]:
        yield Problem.at(node.place, f"a second GuardConfig, the first one is at {documents.guards[0][1].place}")
    if sources and not documents.count and not documents.problems:
        yield Problem.at(Place(sources[0].file, 1, 1), "there is no document here")
    elif sources and not documents.claims and not documents.problems:
        message = "there is no WebSocketPolicy: every handshake is refused with no-policy"
        yield Problem.at(Place(sources[0].file, 1, 1), message, Severity.WARNING)


def _lint(documents: _Documents, guard: GuardSpec) -> Iterator[Problem]:
    for policy, node in documents.policies:
        among = (*lint_hosts(policy, guard), *lint_watching(policy, guard), *lint_client_certificates(policy, guard))
        among += tuple(lint_addresses(policy, guard))
        for finding in (*lint_policy(policy), *among):
            yield _at(node, finding)
    nodes = {id(policy): node for policy, node in documents.policies}
    for policy, finding in lint_shadows(policy for policy, _ in documents.policies):
        yield _at(nodes[id(policy)], finding)
    for config, node in documents.guards:
        if config is not None:
            policies = [policy for policy, _ in documents.policies]
            spec = config.spec
            among = (*lint_backends(spec), *lint_events(spec, policies), *lint_drain(spec, policies))
            for finding in (*lint_guard(spec), *among):
                yield _at(node, finding)


def _at(node: Node, finding: Finding) -> Problem:
    return Problem.at(node.at(finding.path), finding.message, finding.severity)


def _key_files(document: WebSocketPolicy | GuardConfig | None, node: Node) -> Iterator[KeyFile]:
    if document is not None:
        yield from key_files(document, node)
