"""What a line of a `console` example does: it is run, or checked as far as it goes where it would not come back."""

from __future__ import annotations

import json
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from tests.support.programs import NPM, ROOT
from wsguard.cli import _parser, main

TALKING = {"run", "demo", "connections", "logout", "drain", "migrate", "top"}
"""Commands that serve, or talk to a guard that does: their arguments are checked. tests/demo and tests/ops run them."""


def run_line(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run what one line has, joined by `&&`; returns what the last command printed. A pipeline is only checked."""
    printed = ""
    for part in line.split(" && "):
        first, *others = (shlex.split(command) for command in part.split(" | "))
        printed = run(first, capsys) if not others else ""
        for words in [first, *others] if others else []:
            check(words)
    return printed


def check(words: list[str]) -> None:
    """A command of a pipeline: what feeds it is elsewhere."""
    if words[0] == "wsguard":
        parses(words[1:])
    else:
        assert words[0] in ("grep", "tail") or known(words), f"no test knows {words}"


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run one command in the checkout, or check it."""
    match words:
        case ["make", *targets]:
            subprocess.run(["make", "--dry-run", *targets], cwd=ROOT, check=True, capture_output=True)
        case ["docker", "build", *_, context]:  # tests/image builds it
            assert (ROOT / context / "Dockerfile").exists()
        case ["docker", "run", *options] if "run" in options:
            parses(options[options.index("run") :])
        case ["docker", "compose", "--file", file, "up", *_]:  # tests/docs/test_compose.py reads it
            assert (ROOT / file).exists()
        case ["docker", "compose", "--file", file, "exec", service, "wsguard", *arguments]:
            assert service in yaml.safe_load((ROOT / file).read_text("utf-8"))["services"]
            parses(arguments)
        case ["kubectl", "exec", _, "-c", "wsguard", "--", "wsguard", *arguments]:
            parses(arguments)
        case ["wsguard", command, *arguments] if command in TALKING:
            parses([command, *arguments])
            assert all(Path(path).exists() for path in _values(arguments, "--policy"))
        case ["wsguard", *arguments]:
            assert main(arguments) == 0
            return capsys.readouterr().out
        case _:
            assert known(words), f"no test knows how to run {words}"
    return ""


def parses(arguments: list[str]) -> None:
    """Whether the guard's own parser takes them; it exits where it does not."""
    _parser().parse_args(arguments)


def known(words: list[str]) -> bool:
    """Programs of others: what they name must be there. False for one that nobody knows."""
    match words:
        case ["python3", "-m", "venv", folder] | [".", folder]:
            return folder.startswith(".venv")
        case ["pip", "install", what]:
            return what in (".", ".[cel]")
        case ["npm", "--prefix", folder, "install"]:
            wanted = _dependencies(ROOT / folder)
            return bool(wanted) and wanted.items() <= _dependencies(NPM).items()  # what the tests install
        case ["node", script]:
            return (ROOT / script).exists()
        case ["kubectl", "create", "configmap", _, "--from-file", file]:
            return main(["check", file]) == 0
        case ["helm", "dependency", "build", chart]:
            return (ROOT / chart / "Chart.yaml").exists()
        case ["helm", "upgrade" | "test", *_]:  # tests/helm/test_docs.py renders it
            return True
        case ["kubectl", "apply", "-f", "-"] | ["kubectl", "rollout" | "port-forward" | "logs", *_]:
            return True
    return False


def _dependencies(folder: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((folder / "package.json").read_text("utf-8"))["dependencies"]
    return found


def _values(arguments: list[str], flag: str) -> list[str]:
    return [value for name, value in pairwise(arguments) if name == flag]
