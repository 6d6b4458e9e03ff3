"""Whether what is rendered fits the schemas of a Kubernetes."""

from __future__ import annotations

import kubernetes_validate

from tests.helm.charts import Manifest

OF_THE_OPERATOR = "monitoring.coreos.com/v1"
"""The API of the Prometheus operator, whose schemas are its own."""


def check(manifests: list[Manifest], version: str) -> None:
    """Raises ValidationError where one does not fit, unknown fields included."""
    assert manifests
    for manifest in manifests:
        if manifest["apiVersion"] != OF_THE_OPERATOR:
            assert kubernetes_validate.validate(manifest, version, strict=True) == version
