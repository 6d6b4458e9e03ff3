"""Who listens where, and who leads there."""

from __future__ import annotations

import pytest

from tests.kubernetes.manifests import guarded, notes, pod, problems, service, workload
from tests.kubernetes.strategies import Manifest


@pytest.mark.parametrize("target", [{}, {"targetPort": 3000}, {"targetPort": "http"}])
def test_a_service_leads_to_the_guard(target: Manifest) -> None:
    _, led, *_ = guarded(workload(), service({"port": 3000, **target}))
    assert led["spec"]["ports"] == [{"port": 3000, "targetPort": 8080}]


def test_other_ports_and_other_services_stay() -> None:
    ports = [{"name": "a", "port": 80, "targetPort": "http"}, {"name": "b", "port": 9102}]
    others = [
        service({"port": 3000}, selector={"app": "other"}),
        service({"port": 3000}, selector={}),
        service({"port": 3000, "protocol": "UDP"}),
    ]
    _, led, *rest, _ = guarded(workload(), service(*ports), *others)
    assert led["spec"]["ports"] == [ports[0] | {"targetPort": 8080}, ports[1]]
    assert rest == others


def test_tcp_and_udp_on_one_port_are_told_apart() -> None:
    ports = [
        {"name": "h2", "port": 443, "targetPort": 3000},
        {"name": "h3", "port": 443, "targetPort": 3000, "protocol": "UDP"},
    ]
    _, led, *_ = guarded(workload(), service(*ports))
    assert led["spec"]["ports"] == [ports[0] | {"targetPort": 8080}, ports[1]]


def test_a_service_of_another_namespace_is_another() -> None:
    elsewhere = service({"port": 3000})
    elsewhere["metadata"]["namespace"] = "elsewhere"
    assert elsewhere in guarded(workload(), elsewhere)


def test_a_service_that_mixes_guarded_and_not_is_refused() -> None:
    other = workload(inject="false")
    other["metadata"]["name"] = "bare"
    assert "some have no guard" in problems(workload(), other, service({"port": 3000}))[0]


def test_taken_ports_are_left_to_the_application() -> None:
    taken = {"ports": [{"containerPort": 8080}, {"name": "figures", "containerPort": 9090}]}
    manifest = guarded(workload(taken, app_port="8080"))[0]
    assert {"--listen=0.0.0.0:8081", "--admin=0.0.0.0:9091"} <= set(pod(manifest)["initContainers"][0]["args"])


def test_a_port_that_was_asked_for_and_is_taken_is_refused() -> None:
    assert "is the application's own port" in problems(workload(listen_port="3000"))[0]
    assert "admin-port" in problems(workload(listen_port="9000", admin_port="9000"))[0]


def test_which_port_is_the_applications_must_be_clear() -> None:
    two = {"ports": [{"containerPort": 1}, {"containerPort": 2}]}
    assert "declares several TCP ports (1 of app, 2 of app)" in problems(workload(two))[0]
    assert "--backend=http://127.0.0.1:2" in pod(guarded(workload(two, app_port="2"))[0])["initContainers"][0]["args"]
    assert "declares no TCP port:" in problems(workload({"ports": []}))[0]
    assert guarded(workload({"ports": []}, app_port="7000"))


def test_a_headless_service_is_said() -> None:
    assert "has to use port 8080" in notes(workload(), service({"port": 3000}, clusterIP="None"))
