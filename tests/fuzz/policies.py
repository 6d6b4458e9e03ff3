"""The loader of policy files: any text ends in policies or in problems that say where."""

from __future__ import annotations

from pathlib import Path

from wsguard.policy.load import load
from wsguard.policy.problems import Severity
from wsguard.policy.yaml_source import SourceText

_POLICIES = Path(__file__).parents[2] / "policies"

SEEDS = [
    *(file.read_bytes() for file in sorted(_POLICIES.rglob("*.yaml")) if not file.name.endswith(".test.yaml")),
    b"apiVersion: wsguard.dev/v1\nkind: WebSocketPolicy\nmetadata: {name: a}\nspec: {}\n---\nkind: GuardConfig\n",
    b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    b"{" * 50,
]


def check(data: bytes) -> None:
    """Nothing is raised; an error and a policy set exclude each other; each problem has a place inside the text."""
    text = data.decode("utf-8", "replace")
    result = load([SourceText("fuzz.yaml", text)])
    errors = [problem for problem in result.problems if problem.severity is Severity.ERROR]
    assert (result.policy_set is None) == bool(errors)
    lines = text.count("\n") + text.count("\r") + text.count("\x85") + text.count("\u2028") + text.count("\u2029") + 2
    for problem in result.problems:
        assert problem.message
        assert "Traceback" not in problem.message
        assert problem.file in ("fuzz.yaml", "built-in policy")
        assert 1 <= problem.line <= lines, problem
        assert problem.column >= 1, problem
