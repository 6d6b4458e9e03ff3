"""A Deployment and what leads to it, and what injecting makes of them."""

from __future__ import annotations

from typing import Any

import yaml

from tests.kubernetes.strategies import Manifest
from wsguard.kubernetes.inject import inject

APP = {"name": "app", "image": "app:1", "command": ["serve"], "ports": [{"name": "http", "containerPort": 3000}]}


def workload(container: Manifest | None = None, pod: Manifest | None = None, **annotations: str) -> Manifest:
    """A Deployment; annotations are named without their prefix and with `_` for `-`."""
    named = {f"wsguard.dev/{name.replace('_', '-')}": text for name, text in annotations.items()}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "chat", "annotations": named},
        "spec": {
            "selector": {"matchLabels": {"app": "chat"}},
            "template": {
                "metadata": {"labels": {"app": "chat"}},
                "spec": {"containers": [APP | (container or {})], **(pod or {})},
            },
        },
    }


def service(*ports: Manifest, **spec: Any) -> Manifest:
    """A Service before it."""
    selector = {"selector": {"app": "chat"}, "ports": list(ports)}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "chat"}, "spec": selector | spec}


def network_policy(*rules: Manifest, **selector: Any) -> Manifest:
    """A NetworkPolicy about it."""
    spec = {"podSelector": selector or {"matchLabels": {"app": "chat"}}, "ingress": list(rules)}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "n"}, "spec": spec}


def guarded(*manifests: Manifest) -> list[Manifest]:
    """The manifests with the guard in."""
    result = inject(yaml.safe_dump_all(manifests), "x.yaml")
    assert not result.problems, list(map(str, result.problems))
    return list(yaml.safe_load_all(result.text))


def problems(*manifests: Manifest) -> list[str]:
    """What is wrong with them."""
    return [problem.message for problem in inject(yaml.safe_dump_all(manifests), "x.yaml").problems]


def notes(*manifests: Manifest) -> str:
    """What there is to know about them."""
    return "\n".join(note.message for note in inject(yaml.safe_dump_all(manifests), "x.yaml").notes)


def pod(manifest: Manifest) -> Manifest:
    """The spec of a workload's pods."""
    spec: Manifest = manifest["spec"]["template"]["spec"]
    return spec
