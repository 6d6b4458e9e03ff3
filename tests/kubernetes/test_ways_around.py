"""The application's own port is not reached but through the guard."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kubernetes.manifests import APP, guarded, network_policy, notes, pod, problems, workload
from tests.kubernetes.strategies import Manifest


def test_a_network_policy_where_nothing_is_said() -> None:
    *_, policy = guarded(workload({"ports": [*APP["ports"], {"containerPort": 9102}]}, app_port="http"))
    assert policy["kind"] == "NetworkPolicy"
    assert [port["port"] for port in policy["spec"]["ingress"][0]["ports"]] == [8080, 9102]
    assert "keeps other pods from its port 3000" in notes(workload())


@pytest.mark.parametrize("selector", [{}, {"matchLabels": {}}, None])
def test_none_that_would_close_the_whole_namespace(selector: Manifest | None) -> None:
    manifest = workload()
    manifest["spec"]["selector"] = selector
    assert "has no selector" in problems(manifest)[0]
    manifest = workload(bind_env="HOST")
    manifest["spec"]["selector"] = selector
    assert not problems(manifest)


def test_none_where_the_input_has_its_own_which_now_means_the_guard() -> None:
    rule = {"from": [{"podSelector": {}}], "ports": [{"port": "http"}, {"port": 9102}]}
    _, policy = guarded(workload(), network_policy(rule))
    assert [port["port"] for port in policy["spec"]["ingress"][0]["ports"]] == [8080, 9102]


def test_one_about_the_way_out_closes_nothing() -> None:
    policy = network_policy()
    policy["spec"]["policyTypes"] = ["Egress"]
    assert [one["kind"] for one in guarded(workload(), policy)] == ["Deployment", "NetworkPolicy", "NetworkPolicy"]


def test_one_that_lets_in_on_every_port_is_refused() -> None:
    assert "on every port" in problems(workload(), network_policy({"from": [{"podSelector": {}}]}))[0]
    assert "among them" in problems(workload(), network_policy({"ports": [{"port": 2000, "endPort": 4000}]}))[0]


@pytest.mark.parametrize(
    ("operator", "applies"), [("In", True), ("NotIn", False), ("Exists", True), ("DoesNotExist", False)]
)
def test_who_one_is_about_is_read_as_kubernetes_does(operator: str, applies: bool) -> None:
    values = {"values": ["chat"]} if operator.endswith("In") else {}
    expression = {"key": "app", "operator": operator, **values}
    policy = network_policy({"ports": [{"port": 3000}]}, matchExpressions=[expression])
    kinds = [one["kind"] for one in guarded(workload(), policy)]
    assert kinds == ["Deployment", "NetworkPolicy"] if applies else ["Deployment", "NetworkPolicy", "NetworkPolicy"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, [{"name": "HOST", "value": "127.0.0.1"}]),
        ({"env": [{"name": "HOST", "value": "0.0.0.0"}]}, [{"name": "HOST", "value": "127.0.0.1"}]),
        ({"env": [{"name": "HOST"}]}, [{"name": "HOST", "value": "127.0.0.1"}]),
        ({"env": None}, [{"name": "HOST", "value": "127.0.0.1"}]),
    ],
)
def test_bound_by_a_variable(before: Manifest, after: list[Manifest]) -> None:
    (manifest,) = guarded(workload(before, bind_env="HOST"))
    assert pod(manifest)["containers"][0]["env"] == after


@pytest.mark.parametrize(
    ("before", "bind", "after"),
    [
        (["--v"], "--host=127.0.0.1", ["--v", "--host=127.0.0.1"]),
        (["--host=0.0.0.0", "--v"], "--host 127.0.0.1", ["--host=127.0.0.1", "--v"]),
        (["--host", "0.0.0.0"], "--host=127.0.0.1", ["--host", "127.0.0.1"]),
        (["--host", "127.0.0.1"], "--host=127.0.0.1", ["--host", "127.0.0.1"]),
        (["-D", "a=b"], "-D host=127.0.0.1", ["-D", "a=b", "-D", "host=127.0.0.1"]),
        (["-D", "host=::", "-D", "a=b"], "-D host=127.0.0.1", ["-D", "host=127.0.0.1", "-D", "a=b"]),
        (None, "--host=127.0.0.1", ["--host=127.0.0.1"]),
    ],
)
def test_bound_by_arguments(before: list[str] | None, bind: str, after: list[str]) -> None:
    (manifest,) = guarded(workload({"args": before}, bind_args=bind))
    assert pod(manifest)["containers"][0]["args"] == after


@pytest.mark.parametrize(
    ("container", "annotations", "why"),
    [
        ({}, {"bind_env": "HOST=0.0.0.0"}, "does not bind to loopback alone"),
        ({}, {"bind_env": "HOST=127.0.0.1,0.0.0.0"}, "does not bind to loopback alone"),
        ({}, {"bind_args": "--public"}, "does not bind to loopback alone"),
        ({"args": ["-b", "0.0.0.0:3000"]}, {"bind_env": "HOST"}, "still listens on 0.0.0.0:3000"),
        ({"args": ["-b", "[::]:3000"]}, {"bind_args": "--bind=127.0.0.1:3000"}, "still listens on [::]:3000"),
        (
            {"env": [{"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]},
            {"bind_env": "HOST"},
            "valueFrom",
        ),
    ],
)
def test_what_is_not_bound_is_refused(container: Manifest, annotations: dict[str, Any], why: str) -> None:
    assert why in problems(workload(container, **annotations))[0]


EVERYWHERE = [
    "--on=:3000",
    "-b *:3000",
    "tcp://*:3000",
    "http://+:3000",
    "--host=::",
    "--host=*",
    "sh -c 'serve :3000'",
]


@pytest.mark.parametrize("argument", EVERYWHERE)
def test_everywhere_has_many_names(argument: str) -> None:
    assert "still listens on" in problems(workload({"args": [argument]}, bind_env="HOST"))[0]


@pytest.mark.parametrize("value", ["0.0.0.0:3000", ":3000", "http://+:3000"])
def test_a_variable_that_has_the_port_is_looked_at_as_well(value: str) -> None:
    container = {"env": [{"name": "URLS", "value": value}]}
    assert "still listens on" in problems(workload(container, bind_args="--host=127.0.0.1"))[0]
    assert guarded(workload(container, bind_env="URLS=127.0.0.1:3000"))


@pytest.mark.parametrize(
    "argument",
    ["--metrics=0.0.0.0:9102", ":9102", "$(HOST):3000", "//localhost:3000", "[::1]:3000", "a::b", "ls *", "3000:3000"],
)
def test_another_port_may_be_everywhere(argument: str) -> None:
    assert guarded(workload({"args": [argument], "env": [{"name": "A", "value": "0.0.0.0"}]}, bind_env="HOST"))


def test_arguments_never_take_the_place_of_the_images_own() -> None:
    manifest = workload(bind_args="--host=127.0.0.1")
    del pod(manifest)["containers"][0]["command"]
    assert "neither `command` nor `args`" in problems(manifest)[0]


def test_the_nodes_network_needs_a_binding() -> None:
    assert "no NetworkPolicy holds" in problems(workload(pod={"hostNetwork": True}))[0]
    assert guarded(workload(pod={"hostNetwork": True}, bind_env="HOST"))
    assert "so is the guard's admin port 9090" in notes(workload(pod={"hostNetwork": True}, bind_env="HOST"))


def test_a_host_port_is_a_way_around() -> None:
    opened = {"ports": [{"containerPort": 3000, "hostPort": 80}]}
    assert "hostPort opens" in problems(workload(opened, bind_env="HOST"))[0]
