"""The kubelet's questions, and the order of an ending."""

from __future__ import annotations

import pytest

from tests.kubernetes.manifests import guarded, notes, pod, problems, workload


def test_probes_of_a_bound_application_go_through_the_guard() -> None:
    asks = {"readinessProbe": {"httpGet": {"path": "/up", "port": "http"}}}
    (manifest,) = guarded(workload(asks, bind_env="HOST", probe_host="app.example.com"))
    assert pod(manifest)["containers"][0]["readinessProbe"]["httpGet"] == {
        "path": "/up",
        "port": 8080,
        "httpHeaders": [{"name": "Host", "value": "app.example.com"}],
    }


def test_probes_of_other_ports_stay_and_so_do_those_behind_a_network_policy() -> None:
    asks = {"livenessProbe": {"httpGet": {"port": 9102}}, "readinessProbe": {"exec": {"command": ["true"]}}}
    assert asks.items() <= pod(guarded(workload(asks, bind_env="HOST"))[0])["containers"][0].items()
    own = {"livenessProbe": {"httpGet": {"port": "http"}}}
    assert own.items() <= pod(guarded(workload(own))[0])["containers"][0].items()


@pytest.mark.parametrize("way", ["tcpSocket", "grpc"])
def test_what_cannot_go_through_is_refused(way: str) -> None:
    assert f"as {way}" in problems(workload({"startupProbe": {way: {"port": 3000}}}, bind_env="HOST"))[0]


def test_tls_is_refused() -> None:
    asks = {"readinessProbe": {"httpGet": {"port": 3000, "scheme": "HTTPS"}}}
    assert "speaks TLS" in problems(workload(asks))[0]


def test_everyone_waits_for_the_drain() -> None:
    helper = {"name": "helper", "image": "h", "lifecycle": {"postStart": {"exec": {"command": ["true"]}}}}
    manifest = workload()
    pod(manifest)["containers"].append(helper)
    for container in pod(guarded(manifest)[0])["containers"]:
        assert container["lifecycle"]["preStop"] == {"httpGet": {"path": "/drain/wait", "port": 9090}}


def test_a_hook_of_ones_own_is_kept_and_said() -> None:
    own = {"lifecycle": {"preStop": {"sleep": {"seconds": 5}}}}
    assert own.items() <= pod(guarded(workload(own))[0])["containers"][0].items()
    assert "keeps its own preStop hook" in notes(workload(own))
    assert "keeps its own" not in notes(workload({"lifecycle": {"preStop": {"sleep": {"seconds": 30}}}}))


@pytest.mark.parametrize(("given", "then"), [(None, 45), (30, 45), (45, 45), (600, 600)])
def test_there_is_time_for_the_drain(given: int | None, then: int) -> None:
    (manifest, *_) = guarded(workload(pod={"terminationGracePeriodSeconds": given}))
    assert pod(manifest)["terminationGracePeriodSeconds"] == then


def test_the_guard_comes_after_what_prepares_the_application() -> None:
    (manifest, *_) = guarded(workload(pod={"initContainers": [{"name": "migrate", "image": "m"}]}))
    assert [one["name"] for one in pod(manifest)["initContainers"]] == ["migrate", "wsguard"]
