"""The container is the one that docs/kubernetes.md shows, and tests/helm holds the charts to that."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from tests.kubernetes.manifests import guarded, pod, workload

DOCUMENT = Path(__file__).parents[2] / "docs/kubernetes.md"


def shown(beginning: str) -> Any:
    """What the document shows that begins with this line."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if block.startswith(f"{beginning}\n")]
    return yaml.safe_load(block)


def test_it_is_the_same_as_that_of_the_charts() -> None:
    image = "registry.example.com/wsguard:0.1.0"
    (manifest, *_) = guarded(workload(policy_configmap="policies", secrets="keys", image=image))
    assert pod(manifest)["initContainers"] == [shown("name: wsguard")]


def test_the_monitor_in_the_documents_finds_the_port_and_the_label_of_the_charts() -> None:
    text = DOCUMENT.with_name("inject.md").read_text("utf-8")
    (block,) = re.findall(r"^```\n(apiVersion: monitoring.*?)^```$", text, re.MULTILINE | re.DOTALL)
    spec = yaml.safe_load(block)["spec"]
    charts = (DOCUMENT.parents[1] / "helm/wsguard/templates/_monitoring.tpl").read_text("utf-8")
    (endpoint,) = spec["podMetricsEndpoints"]
    (sidecar,) = pod(guarded(workload())[0])["initContainers"]
    assert endpoint["port"] in {port["name"] for port in sidecar["ports"]}
    assert f"port: {endpoint['port']}, path: {endpoint['path']}" in charts
    assert f"podTargetLabels: [{', '.join(spec['podTargetLabels'])}]" in charts
    assert spec["selector"]["matchLabels"].keys() == set(spec["podTargetLabels"])


def test_so_are_its_volumes() -> None:
    (manifest, *_) = guarded(workload(policy_configmap="my-app-wsguard-policies", secrets="my-app-login"))
    assert pod(manifest)["volumes"] == shown("- name: wsguard-policies")
