"""Workloads of applications, as somebody else wrote them."""

from __future__ import annotations

from typing import Any

import yaml


def manifest(kind: str = "Deployment", **pod_spec: Any) -> str:
    """A manifest of one, in YAML."""
    spec = {"containers": [{"name": "app", "image": "app:1"}], **pod_spec}
    labels = {"app": "x"}
    body = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}}
    return yaml.safe_dump({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "x"}, "spec": body})
