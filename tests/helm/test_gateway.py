"""The gateway's chart, rendered: what runs, who reaches it, and how it ends."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.charts import ALL_OF_IT, GIVEN, HelmError, Manifest, guard, helm, notes, one, template
from tests.kubernetes.manifests import pod
from tests.support.programs import ROOT
from wsguard import __version__
from wsguard.cli import _parser
from wsguard.ops.drainer import STRAGGLERS

MONITORED = {"monitoring": {"podMonitor": {"enabled": True}}}


@pytest.fixture(scope="module")
def rendered(gateway: Path) -> list[Manifest]:
    return template(gateway, {"wsguard": GIVEN})


@pytest.fixture(scope="module")
def whole(gateway: Path) -> list[Manifest]:
    return template(gateway, ALL_OF_IT)


@pytest.mark.parametrize("values", [{"wsguard": GIVEN}, ALL_OF_IT], ids=["defaults", "all of it"])
def test_helm_has_nothing_to_say(gateway: Path, values: dict[str, Any], tmp_path: Path) -> None:
    given = tmp_path / "values.yaml"
    given.write_text(json.dumps(values))
    for minor in (29, 37):
        report = helm("lint", "--strict", gateway, "--values", given, "--kube-version", f"1.{minor}")
        assert "[WARNING]" not in report
        assert "[ERROR]" not in report
    assert "0 chart(s) failed" in helm("lint", "--strict", gateway.parent / "wsguard")


def test_what_a_bare_release_consists_of(rendered: list[Manifest]) -> None:
    assert sorted((each["kind"], each["metadata"]["name"]) for each in rendered) == [
        ("Deployment", "chat-wsguard"),
        ("NetworkPolicy", "chat-wsguard"),
        ("Pod", "chat-wsguard-knock"),
        ("PodDisruptionBudget", "chat-wsguard"),
        ("Service", "chat-wsguard"),
    ]


@pytest.mark.parametrize("chart", ["wsguard", "wsguard-gateway"])
def test_charts_have_the_version_of_what_they_run(chart: str) -> None:
    about = yaml.safe_load((ROOT / "helm" / chart / "Chart.yaml").read_text("utf-8"))
    versions = [about["version"], about["appVersion"], *(each["version"] for each in about.get("dependencies", ()))]
    assert set(versions) == {__version__}


def test_it_packs(gateway: Path, tmp_path: Path) -> None:
    helm("package", gateway, "--destination", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"wsguard-gateway-{__version__}.tgz"]


def test_it_is_several_and_never_fewer_while_it_is_replaced(rendered: list[Manifest]) -> None:
    spec = one(rendered, "Deployment")["spec"]
    assert spec["replicas"] > 1
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_the_container_is_the_sidecars_but_for_how_long_it_lives(gateway: Path, app: Path) -> None:
    beside = guard(pod(one(template(app, {"wsguard": {**GIVEN, "secrets": []}}), "Deployment")))
    alone = guard(pod(one(template(gateway, {"wsguard": GIVEN}), "Deployment")))
    assert beside.pop("restartPolicy") == "Always"
    assert alone == beside


def test_selectors_find_the_pods_and_nothing_of_other_releases(whole: list[Manifest]) -> None:
    labels = one(whole, "Deployment")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        one(whole, "Deployment")["spec"]["selector"]["matchLabels"],
        one(whole, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        one(whole, "PodMonitor")["spec"]["selector"]["matchLabels"],
        one(whole, "NetworkPolicy", "chat-wsguard")["spec"]["podSelector"]["matchLabels"],
        *(each["spec"]["selector"] for each in whole if each["kind"] == "Service"),
    ]
    assert len(selectors) == 6
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert "chat" in selector.values(), "the release is part of it"


def test_services_point_at_ports_that_the_container_has(whole: list[Manifest]) -> None:
    ports = {each["name"]: each["containerPort"] for each in guard(pod(one(whole, "Deployment")))["ports"]}
    (public,) = one(whole, "Service", "chat-wsguard")["spec"]["ports"]
    (admin,) = one(whole, "Service", "chat-wsguard-admin")["spec"]["ports"]
    assert (public["port"], public["targetPort"]) == (80, ports["wsguard"])
    assert admin["targetPort"] == ports["wsguard-admin"]
    (endpoint,) = one(whole, "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("wsguard-admin", "/metrics")
    (endpoint,) = one(whole, "ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["port"] == admin["name"]


def test_the_admin_port_is_on_no_service_that_clients_use(rendered: list[Manifest]) -> None:
    assert [port["targetPort"] for port in one(rendered, "Service")["spec"]["ports"]] == [8080]


@pytest.mark.parametrize(("after", "window"), [(5, 20), (0, 0), (10, 1800)])
def test_the_grace_period_covers_the_drain(gateway: Path, after: int, window: int) -> None:
    values = {"wsguard": {**GIVEN, "drain": {"after": after, "window": window}}}
    spec = pod(one(template(gateway, values), "Deployment"))
    command = guard(spec)["lifecycle"]["preStop"]["exec"]["command"]
    args = _parser().parse_args(command[1:])
    assert (args.after, args.window) == (f"{after}s", f"{window}s")
    assert spec["terminationGracePeriodSeconds"] >= after + window + STRAGGLERS + 5


def test_a_service_monitor_finds_the_admin_service_alone(whole: list[Manifest]) -> None:
    selector = one(whole, "ServiceMonitor")["spec"]["selector"]["matchLabels"]
    found = [
        each for each in whole if each["kind"] == "Service" and selector.items() <= each["metadata"]["labels"].items()
    ]
    assert [each["metadata"]["name"] for each in found] == ["chat-wsguard-admin"]


def test_only_the_gateway_reaches_the_backend(whole: list[Manifest]) -> None:
    policy = one(whole, "NetworkPolicy", "chat-wsguard-backend")["spec"]
    labels = one(whole, "Deployment")["spec"]["template"]["metadata"]["labels"]
    ((peer,),) = [rule["from"] for rule in policy["ingress"]]
    assert policy["podSelector"]["matchLabels"] == {"app": "my-app"}
    assert peer["podSelector"]["matchLabels"].items() <= labels.items()


def test_what_is_said_of_the_pods_arrives(whole: list[Manifest]) -> None:
    template = one(whole, "Deployment")["spec"]["template"]
    assert template["metadata"]["annotations"].keys() == {"team", "checksum/wsguard-policies"}
    assert template["spec"]["nodeSelector"] == {"disk": "fast"}
    assert template["spec"]["topologySpreadConstraints"]
    assert one(whole, "Pod")["spec"]["imagePullSecrets"] == [{"name": "registry"}]


def test_spreading_can_be_replaced(gateway: Path) -> None:
    constraints = [{"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]
    values = {"wsguard": GIVEN, "pod": {"topologySpreadConstraints": constraints}}
    assert pod(one(template(gateway, values), "Deployment"))["topologySpreadConstraints"] == constraints


@pytest.mark.parametrize("name", ["containers", "volumes", "terminationGracePeriodSeconds"])
def test_what_the_chart_makes_of_a_pod_cannot_be_replaced(gateway: Path, name: str) -> None:
    with pytest.raises(HelmError, match=name):
        template(gateway, {"wsguard": GIVEN, "pod": {name: 1}})


@pytest.mark.parametrize("release", ["x" * 53, "wsguard", "my-wsguard"])
def test_names_fit(gateway: Path, release: str) -> None:
    names = [each["metadata"]["name"] for each in template(gateway, ALL_OF_IT, release=release)]
    assert all(len(name) <= 63 and not name.endswith("-") for name in names)
    assert "wsguard-wsguard" not in "".join(names)


def test_kubernetes_without_sidecars_is_refused(gateway: Path) -> None:
    with pytest.raises(HelmError, match=r"requires kubeVersion: >=1\.29"):
        template(gateway, {"wsguard": GIVEN}, version="1.28")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, {"NO POLICIES", "NO STREAM", "AROUND THE GUARD"}),
        ({"replicas": 1}, {"NO POLICIES", "AROUND THE GUARD"}),
        ({"backendNetworkPolicy": {"podSelector": {"app": "x"}}}, {"NO POLICIES", "NO STREAM"}),
        ({**ALL_OF_IT, "wsguard": MONITORED}, {"NO POLICIES", "NO STREAM", "PROMETHEUS IS KEPT OUT"}),
    ],
)
def test_notes_say_what_is_missing(gateway: Path, values: dict[str, Any], said: set[str]) -> None:
    text = notes(gateway, values)
    assert {
        word for word in ("NO POLICIES", "NO STREAM", "AROUND THE GUARD", "PROMETHEUS IS KEPT OUT") if word in text
    } == said


def test_notes_are_content_where_nothing_is(gateway: Path) -> None:
    policies = {"chat": "spec: {sessionEvents: {}}"}
    values = {"wsguard": {"policies": policies}, "backendNetworkPolicy": {"podSelector": {"app": "x"}}}
    text = notes(gateway, values)
    assert "2 guards stand before http://app.default.svc:3000, at http://chat-wsguard.live.svc:80" in text
    assert "wsguard.dev/guard=chat" in text
    assert not re.search("^[A-Z]{2}", text, re.MULTILINE), "nothing is missing"
