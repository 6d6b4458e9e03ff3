"""Everything that is rendered fits the schemas of every Kubernetes it is for, and of the Prometheus operator."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import kubernetes_validate.utils
import pytest

from tests.helm.charts import ALL_OF_IT, VERSIONS, run, template
from tests.helm.schemas import OF_THE_OPERATOR, check
from tests.support.programs import NPM, need


@pytest.fixture(autouse=True)
def schemas_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library reads and parses megabytes for each manifest."""
    monkeypatch.setattr(kubernetes_validate.utils, "schema_contents", _schema)


@lru_cache(maxsize=64)
def _schema(filename: str, version: str, read: Any = kubernetes_validate.utils.schema_contents) -> Any:
    return read(filename, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_gateway(gateway: Path, version: str) -> None:
    check(template(gateway, ALL_OF_IT, version=version), version)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_sidecar(app: Path, version: str) -> None:
    check(
        template(app, {"wsguard": {"policies": {"chat": "{}"}, "onPolicyChange": "Rollout"}}, version=version), version
    )


def test_a_manifest_that_does_not_fit_is_found(gateway: Path) -> None:
    manifests = template(gateway, ALL_OF_IT)
    (deployment,) = [each for each in manifests if each["kind"] == "Deployment"]
    deployment["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="livenesProbe"):
        check(manifests, "1.37")


def test_what_is_for_the_operator(gateway: Path) -> None:
    manifests = [each for each in template(gateway, ALL_OF_IT) if each["apiVersion"] == OF_THE_OPERATOR]
    assert sorted(each["kind"] for each in manifests) == ["PodMonitor", "PrometheusRule", "ServiceMonitor"]
    assert run(need("node"), NPM / "operator-schemas.mjs", cwd=NPM, stdin=json.dumps(manifests)) == ""
