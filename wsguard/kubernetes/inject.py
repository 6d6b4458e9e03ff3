"""A stream of manifests with guards put in, and with them taken out.

Law: injecting takes back first what an earlier one did. So twice is once, and changed annotations take effect.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from wsguard.kubernetes.edits import Edited, Edits
from wsguard.kubernetes.guarding import Guarded, guard
from wsguard.kubernetes.network import let_in, say_shield, shield
from wsguard.kubernetes.reader import is_json, read
from wsguard.kubernetes.report import Report
from wsguard.kubernetes.revision import RECORD, Revision, Unchangeable, is_made, is_signed
from wsguard.kubernetes.services import reroute
from wsguard.kubernetes.settings import PREFIX, Settings, read_settings
from wsguard.kubernetes.tree import Document, Mapping, Sequence, Unreadable, target, text_at
from wsguard.kubernetes.undo import undo
from wsguard.kubernetes.workload import KINDS, Workload
from wsguard.policy.problems import Problem, Severity
from wsguard.policy.yaml_source import Place

_REFUSED = {
    "Job": "a Job runs to its end and serves nobody, so there is nothing to guard",
    "CronJob": "a CronJob's pods run to their end and serve nobody, so there is nothing to guard",
    "Pod": "a Pod by itself is never replaced: put it into a Deployment, and inject that",
    "ReplicaSet": "a ReplicaSet is what a Deployment makes: inject the Deployment",
    "ReplicationController": "a ReplicationController is what Deployments have replaced: make it one",
}
_FOREIGN = "a guard goes into a Deployment, StatefulSet or DaemonSet"


@dataclass(frozen=True, slots=True)
class Result:
    """The manifests after it. Where there are `problems`, these are the manifests as they were given."""

    text: str
    problems: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object of the stream, and the document it stands in."""

    document: Document
    root: Mapping

    @property
    def kind(self) -> str:
        """Its kind; that of another API group has the group in front."""
        version, kind = text_at(self.root, "apiVersion") or "", text_at(self.root, "kind") or ""
        group = version.rpartition("/")[0]
        return kind if group in ("", "apps", "batch", "networking.k8s.io") else f"{group}/{kind}"


def inject(text: str, file: str) -> Result:
    """Put a guard before the workloads of `text`; `file` is its name in messages."""
    try:
        before = _taken_back(text)
        job = _Injection(before)
        job.run()
    except Unreadable as error:
        return Result(text, problems=(_problem(text, file, error.index, error.why, Severity.ERROR),))
    problems, notes = _said(job.report, text, file)
    return Result(text if problems else job.edits.done().text, problems, notes)


def uninject(text: str, file: str) -> Result:
    """Take every guard out of `text` again."""
    try:
        return Result(_taken_back(text).text)
    except Unreadable as error:
        return Result(text, problems=(_problem(text, file, error.index, error.why, Severity.ERROR),))


def _taken_back(text: str) -> Edited:
    """Raises Unreadable, also for a record that cannot be followed."""
    edits = Edits(text)
    documents = read(text) if RECORD in text else []
    ends = [*(document.start for document in documents[1:]), None]
    for document, end in zip(documents, ends, strict=False):
        made = set()
        for manifest in _manifests(document):
            if is_made(manifest.root):
                made.add(id(manifest.root))
            elif is_signed(manifest.root):
                _undo(manifest.root, edits)
        if id(document.root) in made:
            edits.remove_document(document.start, end)
        elif made and (items := _items(document)) is not None:
            edits.remove(items, {index for index, item in enumerate(items.items) if id(item) in made})
    return edits.done()


def _undo(root: Mapping, edits: Edits) -> None:
    try:
        undo(root, edits)
    except ValueError as error:
        raise Unreadable(root.start, str(error)) from None
    except Unchangeable as error:
        raise Unreadable(error.node.start, error.why) from None


def _manifests(document: Document) -> Iterator[Manifest]:
    items = _items(document)
    for node in [document.root] if items is None else items.items:
        if isinstance(root := target(node), Mapping):
            yield Manifest(document, root)


def _items(document: Document) -> Sequence | None:
    """The items of a List, which may be one of a kind (`DeploymentList`)."""
    root = document.root
    if not isinstance(root, Mapping) or not (text_at(root, "kind") or "").endswith("List"):
        return None
    entry = root.entry("items")
    return entry.value if entry is not None and isinstance(entry.value, Sequence) else None


@dataclass(slots=True)
class _Injection:
    """One run over a stream that has no guards in it."""

    before: Edited
    edits: Edits = field(init=False)
    report: Report = field(init=False)
    manifests: list[Manifest] = field(init=False)

    def __post_init__(self) -> None:
        self.edits = Edits(self.before.text)
        self.report = Report(self.before.origin)
        self.manifests = [manifest for document in read(self.before.text) for manifest in _manifests(document)]

    def run(self) -> None:
        """Change what is to be changed, and say what there is to say."""
        chosen, others = self._choose()
        guarded = [one for manifest, workload, settings in chosen if (one := self._guard(manifest, workload, settings))]
        if self.report.problems:
            return
        reached: set[Workload] = set()
        shielded: set[Workload] = set()
        for manifest in self.manifests:
            revision = Revision(manifest.root, self.edits)
            try:
                if manifest.kind == "Service":
                    reached |= reroute(manifest.root, guarded, others, revision, self.report)
                elif manifest.kind == "NetworkPolicy":
                    shielded |= let_in(manifest.root, guarded, revision, self.report)
                self._finish(manifest, revision)
            except Unchangeable as error:
                self.report.problem(error.node, error.why)
        for one in guarded:
            if one.workload not in reached:
                whom = f"no Service here leads to {one.workload}: let yours lead to port {one.sidecar.listen}"
                self.report.note(one.workload.root, whom)
            if not one.is_bound and one.workload not in shielded:
                self._shield(one)

    def _choose(self) -> tuple[list[tuple[Manifest, Workload, Settings]], list[Workload]]:
        """The workloads to guard, and those that are left alone."""
        read = [
            (manifest, Workload.read(manifest.root), self._settings(manifest.root))
            for manifest in self.manifests
            if manifest.kind in (*KINDS, *_REFUSED) or Workload.read(manifest.root).containers()
        ]
        asked = [one for one in read if one[2]["inject"]]
        candidates = asked or [one for one in read if one[2]["inject"] is None]
        chosen = [one for one in candidates if one[0].kind in KINDS]
        for manifest, workload, _ in candidates:
            if manifest.kind not in KINDS:
                say = self.report.problem if asked or not chosen else self.report.note
                say(manifest.root, f"{workload} gets no guard: {_REFUSED.get(manifest.kind, _FOREIGN)}")
        if self.manifests and not candidates:
            self.report.note(self.manifests[0].root, "nothing here gets a guard")
        left = {id(manifest) for manifest, _, _ in chosen}
        return chosen, [workload for manifest, workload, _ in read if id(manifest) not in left]

    def _settings(self, root: Mapping) -> Settings:
        """What annotations say; of a workload that is left alone, nothing else counts."""
        report = Report(self.before.origin)
        settings = read_settings(root, report)
        if settings["inject"] is not False:
            self.report.problems += report.problems
        return settings

    def _guard(self, manifest: Manifest, workload: Workload, settings: Settings) -> Guarded | None:
        revision = Revision(manifest.root, self.edits)
        try:
            guarded = guard(workload, settings, revision, self.report)
            self._finish(manifest, revision)
        except Unchangeable as error:
            self.report.problem(error.node, error.why)
            return None
        return guarded

    def _finish(self, manifest: Manifest, revision: Revision) -> None:
        if revision.record:
            for key in manifest.document.duplicates:
                self.report.problem(key, f'the key "{key.text}" stands twice')
            revision.sign()

    def _shield(self, one: Guarded) -> None:
        (manifest,) = [manifest for manifest in self.manifests if manifest.root is one.workload.root]
        document, policy = manifest.document, shield(one)
        if not policy["spec"]["podSelector"]:  # it would hold for every pod of the namespace
            self.report.problem(manifest.root, f"{one.workload} has no selector, so no NetworkPolicy can be about it")
            return
        items = _items(document)
        if items is not None:
            self.edits.append(items, policy)
        elif (
            isinstance(document.root, Mapping)
            and document.root.is_flow
            and len(self.manifests) == 1
            and is_json(self.edits.text)
        ):
            self.report.problem(
                manifest.root,
                f"{one.workload} needs a NetworkPolicy beside it, and one JSON object has no room for two: give a "
                f"List, or say with {PREFIX}bind-env or {PREFIX}bind-args how to bind the application to 127.0.0.1",
            )
            return
        else:
            self.edits.add_document(policy)
        say_shield(one, self.report)


def _said(report: Report, text: str, file: str) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """The problems and the notes in the order of the text, each once."""
    problems = sorted(set(report.problems))
    notes = sorted(set(report.notes))
    return (
        tuple(_problem(text, file, index, message, Severity.ERROR) for index, message in problems),
        tuple(_problem(text, file, index, message, Severity.WARNING) for index, message in notes),
    )


def _problem(text: str, file: str, index: int, message: str, severity: Severity) -> Problem:
    before = text[:index].replace("\r\n", "\n").replace("\r", "\n")
    place = Place(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
    return Problem.at(place, message, severity)
