"""Policy files as text, and what is said of them when they are loaded, with its place."""

from __future__ import annotations

from textwrap import indent

from wsguard.policy.load import LoadResult, load
from wsguard.policy.yaml_source import SourceText

PROVIDER = "{name: p, issuer: i, audiences: [a], algorithms: [RS256], localJWKS: {file: k}"
"""A sound provider, without its last brace: more may follow."""


def policy(spec: str, name: str = "p") -> str:
    """A policy of which `spec` begins on line 5, in column 3."""
    head = f"apiVersion: wsguard.dev/v1\nkind: WebSocketPolicy\nmetadata: {{name: {name}}}\nspec:\n"
    return head + indent(spec or "{}", "  ") + "\n"


def guard(spec: str) -> str:
    """A GuardConfig of which `spec` begins on line 4, in column 3."""
    return f"apiVersion: wsguard.dev/v1\nkind: GuardConfig\nspec:\n{indent(spec or '{}', '  ')}\n"


def loaded(*texts: str) -> LoadResult:
    """What comes of files with these texts, which are called a.yaml, b.yaml and so on."""
    return load(SourceText(f"{'abcdef'[i]}.yaml", text) for i, text in enumerate(texts))


def errors(*texts: str) -> list[str]:
    """What is wrong with these texts."""
    return [str(problem) for problem in loaded(*texts).errors]


def warnings(*texts: str) -> list[str]:
    """What is said of these texts, with which nothing is wrong."""
    result = loaded(*texts)
    assert result.errors == (), [str(each) for each in result.errors]
    return [str(problem) for problem in result.problems]


def provider(**parts: str) -> str:
    """The spec of a policy with one sound provider, of which `parts` are replaced (an empty text: left out)."""
    fields = {
        "name": "p",
        "issuer": "i",
        "audiences": "[a]",
        "algorithms": "[RS256]",
        "localJWKS": "{file: k}",
        **parts,
    }
    return f"jwt: {{providers: [{{{', '.join(f'{name}: {text}' for name, text in fields.items() if text)}}}]}}"
