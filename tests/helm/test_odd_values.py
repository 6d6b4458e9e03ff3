"""Values and names that are allowed and seldom tried: what YAML takes for something else, and ways around the guard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from tests.helm.charts import ALL_OF_IT, GIVEN, HelmError, Manifest, guard, notes, one, template
from tests.kubernetes.manifests import pod

LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")  # RFC 1035, which names of Services follow


def texts(value: Any, of: str = "") -> Iterator[Any]:
    """What stands where Kubernetes wants text: values of labels, selectors and annotations."""
    for key, inner in value.items() if isinstance(value, dict) else [("", each) for each in value]:
        if of in ("labels", "matchLabels", "annotations"):
            yield inner
        elif isinstance(inner, dict | list):
            yield from texts(inner, key)


@pytest.mark.parametrize("release", ["my.app", "1chat", "123", "1e5", "true", "null"])
def test_any_name_that_helm_takes_for_a_release(gateway: Path, release: str) -> None:
    manifests = template(gateway, ALL_OF_IT, release=release)
    for each in manifests:
        assert LABEL.fullmatch(each["metadata"]["name"]), each["kind"]
        assert all(isinstance(text, str) for text in texts(each)), each["kind"]
        if "." not in each["apiVersion"].partition("/")[0]:
            kubernetes_validate.validate(each, "1.37", strict=True)
    assert one(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"]["wsguard.dev/guard"] == release


def test_names_that_look_like_something_else_stay_names(gateway: Path) -> None:
    values = {**GIVEN, "secrets": ["123", "true"], "existingConfigMap": "1e5"}
    volumes = pod(one(template(gateway, {"wsguard": values}), "Deployment"))["volumes"]
    assert volumes[0]["configMap"]["name"] == "1e5"
    assert [each["secret"]["name"] for each in volumes[1]["projected"]["sources"]] == ["123", "true"]


def test_a_backend_is_one_argument_however_it_is_spelt(gateway: Path) -> None:
    spec = pod(one(template(gateway, {"wsguard": {**GIVEN, "backend": "http://app:"}}), "Deployment"))
    assert "--backend=http://app:" in guard(spec)["args"]


@pytest.mark.parametrize(
    "text", ["  # how\nkind: a\nspec:\n  b: c\n", "\n\n---\na: 1\n", 'a: "{{ .Values }} %s"\n', "a:\n- 'b: #c'\n"]
)
def test_policies_arrive_as_they_are_written(gateway: Path, text: str) -> None:
    manifests = template(gateway, {"wsguard": {**GIVEN, "policies": {"chat": text}}})
    assert one(manifests, "ConfigMap")["data"] == {"chat.yaml": text}


@pytest.mark.parametrize(
    ("backend", "namespace"),
    [
        ("http://app:3000", None),
        ("http://app.live.svc:3000", None),
        ("http://10.0.0.1:3000", None),
        ("http://app.shop.svc:3000", "shop"),
        ("http://app.shop.svc.cluster.local", "shop"),
        ("http://app.shop:3000", "shop"),
    ],
)
def test_the_backends_policy_is_where_the_backend_is(gateway: Path, backend: str, namespace: str | None) -> None:
    values = {"wsguard": {**GIVEN, "backend": backend}, "backendNetworkPolicy": {"podSelector": {"app": "x"}}}
    policy = one(template(gateway, values), "NetworkPolicy", "chat-wsguard-backend")
    ((peer,),) = [rule["from"] for rule in policy["spec"]["ingress"]]
    assert policy["metadata"].get("namespace") == namespace
    ours = {"matchLabels": {"kubernetes.io/metadata.name": "live"}}
    assert peer.get("namespaceSelector") == (ours if namespace else None)


def with_ports(chart: Path, ports: str) -> Manifest:
    """The deployment of the application's chart, whose container declares these ports."""
    file = chart / "templates/app.yaml"
    before = file.read_text()
    file.write_text(before.replace("ports: [{containerPort: 3000}]", f"ports: [{ports}]"))
    try:
        return one(template(chart), "Deployment")
    finally:
        file.write_text(before)


def test_a_port_of_the_node_that_leads_around_the_guard_is_refused(app: Path) -> None:
    with pytest.raises(HelmError, match="hostPort 80 opens the application's own port 3000"):
        with_ports(app, "{containerPort: 3000, hostPort: 80}")
    assert with_ports(app, "{containerPort: 9000, hostPort: 80}, {containerPort: 3000}")


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"ports": {"public": 9090}}, "public and admin are both 9090"),
        ({"backend": "http://127.0.0.1:8080"}, "wsguard.ports.public: 8080 is the application's own port"),
        ({"backend": "http://localhost:9090"}, "wsguard.ports.admin: 9090 is the application's own port"),
    ],
)
def test_a_port_is_taken_once(app: Path, values: dict[str, Any], why: str) -> None:
    with pytest.raises(HelmError, match=re.escape(why)):
        template(app, {"wsguard": values})


def test_a_backend_elsewhere_may_have_the_guards_port(gateway: Path) -> None:
    assert template(gateway, {"wsguard": {**GIVEN, "backend": "http://app:8080"}})


def test_an_autoscaler_may_have_the_replicas(gateway: Path) -> None:
    assert one(template(gateway, {"wsguard": GIVEN, "replicas": None}), "Deployment")["spec"]["replicas"] is None
    text = notes(gateway, {"replicas": None})
    assert "\nGuards stand before" in text
    assert "NO STREAM" in text
