"""What the documents show is run, or at least checked: an example that no longer works fails here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.docs.commands import run_line
from wsguard.policy.load import load
from wsguard.policy.load_tests import load_tests
from wsguard.policy.yaml_source import SourceText

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
ELSEWHERE = {
    "kubernetes.md": "tests/helm/test_docs.py",  # manifests, not policies: rendered
    "legacy-app.md": "tests/docs/test_legacy_app.py",  # one story, from beginning to end, with a guard and its log
}
"""Documents whose examples have a test of their own."""

SCRIPTS = {
    "docs/client.md": "tests/scenarios/browser/test_client.py",
    "docs/policies.md": "tests/scenarios/browser/test_handshake_token.py",
    "docs/start.md": "tests/docs/test_start.py",
}
"""Documents with scripts, and where those are run."""

_FENCE = re.compile(r"^```(?P<language>\S*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]+\]\((?P<target>[^)\s]+)\)")


class Example(NamedTuple):
    """A fenced block: where it begins, what it is, what it says."""

    place: str
    language: str
    text: str


def examples() -> Iterator[Example]:
    """Every fenced block of every document."""
    for path in DOCUMENTS:
        if path.name in ELSEWHERE:
            continue
        text = path.read_text("utf-8")
        for found in _FENCE.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            yield Example(f"{path.relative_to(ROOT)}:{line}", found["language"], found["text"])


EXAMPLES = list(examples())


def of(language: str) -> pytest.MarkDecorator:
    """The examples in `language`, one a test."""
    chosen = [example for example in EXAMPLES if example.language == language]
    return pytest.mark.parametrize("example", chosen, ids=[example.place for example in chosen])


def test_every_example_is_of_a_kind_that_is_checked() -> None:
    assert {example.language for example in EXAMPLES} <= {
        "console",
        "yaml",
        "js",
        "nginx",
        "",
    }  # nginx: test_migrating.py; the last: drawings


def test_no_example_is_hidden_from_the_tests_by_its_indent() -> None:
    assert not [path for path in DOCUMENTS if re.search(r"^ +```", path.read_text("utf-8"), re.MULTILINE)]


@pytest.mark.parametrize("test", [*ELSEWHERE.values(), *SCRIPTS.values()])
def test_what_is_run_elsewhere_is_run(test: str) -> None:
    assert (ROOT / test).exists()


@of("js")
def test_scripts_are_run_elsewhere(example: Example) -> None:
    assert example.place.partition(":")[0] in SCRIPTS


@of("yaml")
def test_policies_load(example: Example) -> None:
    source = SourceText(example.place, example.text.encode())
    problems = load_tests(source)[1] if "kind: PolicyTest" in example.text else load([source]).errors
    assert not problems, "\n".join(map(str, problems))


@of("console")
def test_commands_work(example: Example, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    first, *rest = re.split(r"^\$ ", example.text, flags=re.MULTILINE)
    assert not first, "an example begins with `$ `"
    for entry in rest:
        line, _, expected = entry.partition("\n")
        printed = run_line(line, capsys)
        if expected:
            assert printed == expected


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for found in _LINK.finditer(path.read_text("utf-8")):
        target, _, anchor = found["target"].partition("#")
        if not target.startswith(("http://", "https://")):
            there = path.parent / target if target else path
            assert there.exists(), target
            assert not anchor or anchor in anchors(there), found["target"]


def anchors(path: Path) -> set[str]:
    """What a heading is linked by: lower case, dashes for spaces, no punctuation."""
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_are_named_exist(path: Path) -> None:
    """`wsguard/…`, `tests/…` and their like in backquotes."""
    named = re.findall(
        r"`((?:wsguard|tests|docs|policies|benchmarks|helm|examples)/[\w./*-]*)`", path.read_text("utf-8")
    )
    gone = [name for name in named if not (ROOT / name).exists()]
    assert not gone
