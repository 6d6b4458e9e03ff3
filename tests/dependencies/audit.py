"""Asks advisory databases what is known of every locked package, and says what is.

    python3 tests/dependencies/audit.py

PyPI's packages are asked of OSV by pip-audit, npm's of the registry by npm itself. Ends with 1 where an advisory speaks
of a version that a lock file names, and with 2 where a database could not be asked: then nothing is known. It runs
without a virtual environment, so it uses the standard library only.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.support.provision import AUDIT_FOLDER, PATH  # noqa: E402  # it is no installed package

OSV = "https://api.osv.dev/v1/query"


class NotAsked(Exception):
    """A database gave no answer; the message is what its client said last."""


def main(arguments: Sequence[str]) -> int:
    """Ask, and print what was learnt; returns the exit status."""
    asked = options(arguments)
    known: list[str] = []
    unasked: list[str] = []
    for lock in locks(asked.root):
        name = lock.relative_to(asked.root)
        try:
            found = list(_npm(lock.parent, asked.registry) if lock.suffix == ".json" else _pip(lock, asked.osv))
        except NotAsked as error:
            unasked.append(f"{name}: not audited: {error}")
        else:
            known += [f"{name}: {line}" for line in found]
            print(f"{name}: asked")
    for line in (*known, *unasked):
        print(line, file=sys.stderr)
    if known:
        return 1
    if unasked and asked.if_reachable:
        print("NOT AUDITED: what could not be asked is as unknown as it was", file=sys.stderr)
        return 0
    return 2 if unasked else 0


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="audit.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=Path, default=ROOT, help="where the lock files are")
    parser.add_argument("--osv", default=OSV, metavar="URL", help="who is asked about PyPI's packages")
    parser.add_argument("--registry", metavar="URL", help="who is asked about npm's packages, in place of npm's own")
    parser.add_argument("--if-reachable", action="store_true", help="a database that cannot be asked is no failure")
    return parser.parse_args(arguments)


def locks(root: Path) -> list[Path]:
    """Every lock file, pip's first."""
    return [*sorted(root.glob("requirements*.lock")), *sorted(root.glob("tests/npm*/package-lock.json"))]


def _pip(lock: Path, osv: str) -> Iterator[str]:
    command = [
        *(AUDIT_FOLDER / "bin" / "pip-audit", "--strict", "--disable-pip", "--require-hashes", "--requirement", lock),
        *("--vulnerability-service", "osv", "--osv-url", osv),
        *("--format", "json", "--desc", "off", "--progress-spinner", "off"),
    ]
    answer = _ask([str(word) for word in command], lock.parent)
    for package in answer["dependencies"]:
        for advisory in package["vulns"]:
            mended = ", ".join(advisory["fix_versions"]) or "no version"
            yield f"{package['name']} {package['version']}: {advisory['id']}, mended in {mended}"


def _npm(folder: Path, registry: str | None) -> Iterator[str]:
    npm = shutil.which("npm", path=PATH)
    if npm is None:
        raise NotAsked("there is no npm")
    command = [npm, "audit", "--package-lock-only", "--json"]
    answer = _ask([*command, *([f"--registry={registry}"] if registry else [])], folder)
    if "vulnerabilities" not in answer:
        raise NotAsked(str(answer.get("message", "an answer that is none")))
    for name, package in answer["vulnerabilities"].items():
        for advisory in package["via"]:
            if isinstance(advisory, dict):  # else the name of another package, which speaks for itself
                yield f"{name} {advisory['range']}: {advisory['url']}, {advisory['severity']}"


def _ask(command: Sequence[str], folder: Path) -> dict[str, Any]:
    """What `command` prints, whatever status it ends with: a finding is no success to either. Raises NotAsked."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise NotAsked((done.stderr.strip() or "it said nothing").splitlines()[-1][:200]) from None
    if not isinstance(answer, dict):
        raise NotAsked("an answer that is none")
    return answer


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
