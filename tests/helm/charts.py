"""The charts, with their dependencies in place, rendered by the real helm."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.support.programs import ROOT, need

Manifest = dict[str, Any]

VERSIONS = [f"1.{minor}" for minor in range(29, 38)]
"""The versions of Kubernetes that manifests are rendered for and checked against."""

GIVEN = {"image": {"repository": "registry.example.com/wsguard"}, "backend": "http://app.default.svc:3000"}
"""What has no default."""

ALL_OF_IT = {
    "wsguard": {
        **GIVEN,
        "policies": {"chat": "apiVersion: wsguard.dev/v1\n"},
        "secrets": ["login"],
        "onPolicyChange": "Rollout",
        "networkPolicy": {"metricsFrom": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]},
        "monitoring": {
            "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "alerts": {"enabled": True, "labels": {"release": "prometheus"}},
            "dashboard": {"enabled": True},
        },
    },
    "serviceMonitor": {"enabled": True},
    "backendNetworkPolicy": {"podSelector": {"app": "my-app"}},
    "podAnnotations": {"team": "chat"},
    "pod": {"nodeSelector": {"disk": "fast"}, "imagePullSecrets": [{"name": "registry"}]},
}
"""Everything that the gateway's chart can make."""


class HelmError(Exception):
    """What helm printed when it refused."""


def helm(*arguments: str | Path, cwd: Path = ROOT) -> str:
    """Run helm; what it prints. Raises HelmError."""
    return run(need("helm"), *arguments, cwd=cwd)


def run(*command: str | Path, cwd: Path = ROOT, stdin: str = "") -> str:
    """Run a program; what it prints. Raises HelmError with all of it where it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=cwd, input=stdin)
    if done.returncode:
        raise HelmError(done.stdout + done.stderr)
    return done.stdout


def template(
    chart: Path, values: Mapping[str, Any] | None = None, *arguments: str, release: str = "chat", version: str = "1.37"
) -> list[Manifest]:
    """The manifests of a release under a version of Kubernetes. `values` go on top of the chart's. Raises HelmError."""
    given = chart.parent / f"values-{abs(hash(json.dumps(values)))}.json"
    given.write_text(json.dumps(values or {}))
    where = ["--namespace", "live", "--kube-version", version, "--values", str(given)]
    return documents(helm("template", release, chart, *where, *arguments))


def documents(text: str) -> list[Manifest]:
    """The manifests of a stream."""
    return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]


def one(manifests: Sequence[Manifest], kind: str, name: str | None = None) -> Manifest:
    """The only manifest of a kind, or the one with that name."""
    (found,) = [each for each in manifests if each["kind"] == kind and name in (None, each["metadata"]["name"])]
    return found


def guard(spec: Manifest) -> Manifest:
    """The guard's container in a pod, wherever it stands."""
    (found,) = [each for each in [*spec.get("initContainers", ()), *spec["containers"]] if each["name"] == "wsguard"]
    container: Manifest = found
    return container


def notes(gateway: Path, values: dict[str, Any]) -> str:
    """What helm says after an installation of the gateway with these values."""
    given = gateway.parent / "notes.json"
    whole = {**values, "wsguard": {**GIVEN, **values.get("wsguard", {})}}
    given.write_text(json.dumps(whole))
    text = helm("install", "chat", gateway, "--dry-run=client", "--namespace", "live", "--values", given)
    return text.partition("NOTES:")[2]
