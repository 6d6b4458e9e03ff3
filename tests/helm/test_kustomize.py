"""The kustomize component makes of a Deployment what the charts make of one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.charts import GIVEN, VERSIONS, HelmError, Manifest, documents, guard, one, run, template
from tests.helm.schemas import check
from tests.helm.workloads import manifest
from tests.kubernetes.manifests import pod
from tests.support.programs import ROOT, need

GUARD_CONFIG = "apiVersion: wsguard.dev/v1\nkind: GuardConfig\nspec: {backends: [{url: 'http://127.0.0.1:3000'}]}\n"


def built(clone: Path, workload: str, label: str = "wsguard.dev/guard") -> list[Manifest]:
    """What the example of docs/kubernetes.md makes of a workload with this label."""
    folder = clone / "kustomized"
    folder.mkdir(exist_ok=True)
    labelled = yaml.safe_load(workload)
    labelled["metadata"]["labels"] = {label: "x"}
    shutil.copy(clone / "my-app/kustomization.yaml", folder)
    shutil.copy(ROOT / "policies/cookie-app.yaml", folder / "chat.yaml")
    (folder / "guard.yaml").write_text(GUARD_CONFIG)
    (folder / "app.yaml").write_text(yaml.safe_dump(labelled))
    return documents(run(need("kubectl"), "kustomize", folder))


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_the_container_is_the_charts_but_for_where_the_backend_is_named(clone: Path, app: Path, kind: str) -> None:
    values = {**GIVEN, "policies": {"chat": "x"}, "secrets": []}
    theirs = pod(one(template(app, {"wsguard": values}), "Deployment"))
    ours = pod(one(built(clone, manifest(kind)), kind))
    expected = guard(theirs)
    expected["args"] = [word for word in expected["args"] if "--backend" not in word]
    assert guard(ours) == expected
    assert ours["terminationGracePeriodSeconds"] == theirs["terminationGracePeriodSeconds"]
    assert ours["containers"][0]["lifecycle"] == theirs["containers"][0]["lifecycle"]


def test_policies_have_a_name_that_changes_with_them(clone: Path) -> None:
    made = built(clone, manifest())
    volumes = {each["name"]: each for each in pod(one(made, "Deployment"))["volumes"]}
    name = volumes["wsguard-policies"]["configMap"]["name"]
    assert name.startswith("wsguard-policies-")
    assert one(made, "ConfigMap")["metadata"]["name"] == name
    assert set(one(made, "ConfigMap")["data"]) == {"chat.yaml", "guard.yaml"}


@pytest.mark.parametrize("version", VERSIONS)
def test_it_fits_the_schemas(clone: Path, version: str) -> None:
    check(built(clone, manifest()), version)


def test_who_is_not_labelled_stays_alone(clone: Path) -> None:
    assert "initContainers" not in pod(one(built(clone, manifest(), "other"), "Deployment"))


def test_a_lifecycle_of_the_applications_own_is_not_overwritten(clone: Path) -> None:
    container: dict[str, Any] = {"name": "app", "image": "app:1", "lifecycle": {"postStart": {"sleep": {"seconds": 1}}}}
    with pytest.raises(HelmError, match="containers/0/lifecycle"):
        built(clone, manifest(containers=[container]))
