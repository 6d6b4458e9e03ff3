"""What injecting does to a workload and what leads to it, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.kubernetes.strategies import Manifest
from wsguard.cli import _parser
from wsguard.kubernetes.inject import inject, uninject

APP = {"name": "app", "image": "app:1", "command": ["serve"], "ports": [{"name": "http", "containerPort": 3000}]}


def workload(container: Manifest | None = None, pod: Manifest | None = None, **annotations: str) -> Manifest:
    """A Deployment; annotations are named without their prefix and with `_` for `-`."""
    named = {f"wsguard.dev/{name.replace('_', '-')}": text for name, text in annotations.items()}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "chat", "annotations": named},
        "spec": {
            "selector": {"matchLabels": {"app": "chat"}},
            "template": {
                "metadata": {"labels": {"app": "chat"}},
                "spec": {"containers": [APP | (container or {})], **(pod or {})},
            },
        },
    }


def service(*ports: Manifest, **spec: Any) -> Manifest:
    """A Service before it."""
    selector = {"selector": {"app": "chat"}, "ports": list(ports)}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "chat"}, "spec": selector | spec}


def network_policy(*rules: Manifest, **selector: Any) -> Manifest:
    """A NetworkPolicy about it."""
    spec = {"podSelector": selector or {"matchLabels": {"app": "chat"}}, "ingress": list(rules)}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "n"}, "spec": spec}


def guarded(*manifests: Manifest) -> list[Manifest]:
    """The manifests with the guard in."""
    result = inject(yaml.safe_dump_all(manifests), "x.yaml")
    assert not result.problems, list(map(str, result.problems))
    return list(yaml.safe_load_all(result.text))


def problems(*manifests: Manifest) -> list[str]:
    """What is wrong with them."""
    return [problem.message for problem in inject(yaml.safe_dump_all(manifests), "x.yaml").problems]


def notes(*manifests: Manifest) -> str:
    """What there is to know about them."""
    return "\n".join(note.message for note in inject(yaml.safe_dump_all(manifests), "x.yaml").notes)


def pod(manifest: Manifest) -> Any:
    """The pod's spec."""
    return manifest["spec"]["template"]["spec"]


def test_the_guard_understands_what_its_container_says() -> None:
    manifest = guarded(workload(policy_configmap="policies", secrets="a, b", drain_window="30s"))[0]
    (guard,) = pod(manifest)["initContainers"]
    args = _parser().parse_args(guard["args"])
    assert (args.policy, args.backend) == (["/etc/wsguard/policies"], "http://127.0.0.1:3000")
    assert (args.listen, args.admin) == ("0.0.0.0:8080", "0.0.0.0:9090")
    assert {mount["name"] for mount in guard["volumeMounts"]} == {volume["name"] for volume in pod(manifest)["volumes"]}
    command = guard["lifecycle"]["preStop"]["exec"]["command"]
    drain = _parser().parse_args(command[1:])
    assert (drain.command, drain.after, drain.window, drain.wait) == ("drain", "5s", "30s", True)
    assert pod(manifest)["terminationGracePeriodSeconds"] == 5 + 30 + 5 + 10 + 5


class TestPorts:
    """Who listens where, and who leads there."""

    @pytest.mark.parametrize("target", [{}, {"targetPort": 3000}, {"targetPort": "http"}])
    def test_a_service_leads_to_the_guard(self, target: Manifest) -> None:
        _, led, *_ = guarded(workload(), service({"port": 3000, **target}))
        assert led["spec"]["ports"] == [{"port": 3000, "targetPort": 8080}]

    def test_other_ports_and_other_services_stay(self) -> None:
        ports = [{"name": "a", "port": 80, "targetPort": "http"}, {"name": "b", "port": 9102}]
        others = [
            service({"port": 3000}, selector={"app": "other"}),
            service({"port": 3000}, selector={}),
            service({"port": 3000, "protocol": "UDP"}),
        ]
        _, led, *rest, _ = guarded(workload(), service(*ports), *others)
        assert led["spec"]["ports"] == [ports[0] | {"targetPort": 8080}, ports[1]]
        assert rest == others

    def test_tcp_and_udp_on_one_port_are_told_apart(self) -> None:
        ports = [
            {"name": "h2", "port": 443, "targetPort": 3000},
            {"name": "h3", "port": 443, "targetPort": 3000, "protocol": "UDP"},
        ]
        _, led, *_ = guarded(workload(), service(*ports))
        assert led["spec"]["ports"] == [ports[0] | {"targetPort": 8080}, ports[1]]

    def test_a_service_of_another_namespace_is_another(self) -> None:
        elsewhere = service({"port": 3000})
        elsewhere["metadata"]["namespace"] = "elsewhere"
        assert elsewhere in guarded(workload(), elsewhere)

    def test_a_service_that_mixes_guarded_and_not_is_refused(self) -> None:
        other = workload(inject="false")
        other["metadata"]["name"] = "bare"
        assert "some have no guard" in problems(workload(), other, service({"port": 3000}))[0]

    def test_taken_ports_are_left_to_the_application(self) -> None:
        taken = {"ports": [{"containerPort": 8080}, {"name": "figures", "containerPort": 9090}]}
        manifest = guarded(workload(taken, app_port="8080"))[0]
        assert {"--listen=0.0.0.0:8081", "--admin=0.0.0.0:9091"} <= set(pod(manifest)["initContainers"][0]["args"])

    def test_a_port_that_was_asked_for_and_is_taken_is_refused(self) -> None:
        assert "is the application's own port" in problems(workload(listen_port="3000"))[0]
        assert "admin-port" in problems(workload(listen_port="9000", admin_port="9000"))[0]

    def test_which_port_is_the_applications_must_be_clear(self) -> None:
        two = {"ports": [{"containerPort": 1}, {"containerPort": 2}]}
        assert "declares several TCP ports (1 of app, 2 of app)" in problems(workload(two))[0]
        assert (
            "--backend=http://127.0.0.1:2" in pod(guarded(workload(two, app_port="2"))[0])["initContainers"][0]["args"]
        )
        assert "declares no TCP port:" in problems(workload({"ports": []}))[0]
        assert guarded(workload({"ports": []}, app_port="7000"))

    def test_a_headless_service_is_said(self) -> None:
        assert "has to use port 8080" in notes(workload(), service({"port": 3000}, clusterIP="None"))


class TestWaysAround:
    """The application's own port is not reached but through the guard."""

    def test_a_network_policy_where_nothing_is_said(self) -> None:
        *_, policy = guarded(workload({"ports": [*APP["ports"], {"containerPort": 9102}]}, app_port="http"))
        assert policy["kind"] == "NetworkPolicy"
        assert [port["port"] for port in policy["spec"]["ingress"][0]["ports"]] == [8080, 9102]
        assert "keeps other pods from its port 3000" in notes(workload())

    def test_none_where_the_input_has_its_own_which_now_means_the_guard(self) -> None:
        rule = {"from": [{"podSelector": {}}], "ports": [{"port": "http"}, {"port": 9102}]}
        _, policy = guarded(workload(), network_policy(rule))
        assert [port["port"] for port in policy["spec"]["ingress"][0]["ports"]] == [8080, 9102]

    def test_one_that_lets_in_on_every_port_is_refused(self) -> None:
        assert "on every port" in problems(workload(), network_policy({"from": [{"podSelector": {}}]}))[0]
        assert "among them" in problems(workload(), network_policy({"ports": [{"port": 2000, "endPort": 4000}]}))[0]

    @pytest.mark.parametrize(
        ("operator", "applies"), [("In", True), ("NotIn", False), ("Exists", True), ("DoesNotExist", False)]
    )
    def test_who_one_is_about_is_read_as_kubernetes_does(self, operator: str, applies: bool) -> None:
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
    def test_bound_by_a_variable(self, before: Manifest, after: list[Manifest]) -> None:
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
    def test_bound_by_arguments(self, before: list[str] | None, bind: str, after: list[str]) -> None:
        (manifest,) = guarded(workload({"args": before}, bind_args=bind))
        assert pod(manifest)["containers"][0]["args"] == after

    @pytest.mark.parametrize(
        ("container", "annotations", "why"),
        [
            ({}, {"bind_env": "HOST=0.0.0.0"}, "binds to no loopback address"),
            ({}, {"bind_args": "--public"}, "binds to no loopback address"),
            ({"args": ["-b", "0.0.0.0:3000"]}, {"bind_env": "HOST"}, "still listens on 0.0.0.0:3000"),
            ({"args": ["-b", "[::]:3000"]}, {"bind_args": "--bind=127.0.0.1:3000"}, "still listens on [::]:3000"),
            (
                {"env": [{"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]},
                {"bind_env": "HOST"},
                "valueFrom",
            ),
        ],
    )
    def test_what_is_not_bound_is_refused(self, container: Manifest, annotations: dict[str, Any], why: str) -> None:
        assert why in problems(workload(container, **annotations))[0]

    def test_another_port_may_be_everywhere(self) -> None:
        assert guarded(workload({"args": ["--metrics=0.0.0.0:9102"]}, bind_env="HOST"))

    def test_arguments_never_take_the_place_of_the_images_own(self) -> None:
        manifest = workload(bind_args="--host=127.0.0.1")
        del pod(manifest)["containers"][0]["command"]
        assert "neither `command` nor `args`" in problems(manifest)[0]

    def test_the_nodes_network_needs_a_binding(self) -> None:
        assert "no NetworkPolicy holds" in problems(workload(pod={"hostNetwork": True}))[0]
        assert guarded(workload(pod={"hostNetwork": True}, bind_env="HOST"))
        assert "so is the guard's admin port 9090" in notes(workload(pod={"hostNetwork": True}, bind_env="HOST"))

    def test_a_host_port_is_a_way_around(self) -> None:
        opened = {"ports": [{"containerPort": 3000, "hostPort": 80}]}
        assert "hostPort opens" in problems(workload(opened, bind_env="HOST"))[0]


class TestLifecycle:
    """The kubelet's questions, and the order of an ending."""

    def test_probes_of_a_bound_application_go_through_the_guard(self) -> None:
        asks = {"readinessProbe": {"httpGet": {"path": "/up", "port": "http"}}}
        (manifest,) = guarded(workload(asks, bind_env="HOST", probe_host="app.example.com"))
        assert pod(manifest)["containers"][0]["readinessProbe"]["httpGet"] == {
            "path": "/up",
            "port": 8080,
            "httpHeaders": [{"name": "Host", "value": "app.example.com"}],
        }

    def test_probes_of_other_ports_stay_and_so_do_those_behind_a_network_policy(self) -> None:
        asks = {"livenessProbe": {"httpGet": {"port": 9102}}, "readinessProbe": {"exec": {"command": ["true"]}}}
        assert asks.items() <= pod(guarded(workload(asks, bind_env="HOST"))[0])["containers"][0].items()
        own = {"livenessProbe": {"httpGet": {"port": "http"}}}
        assert own.items() <= pod(guarded(workload(own))[0])["containers"][0].items()

    @pytest.mark.parametrize("way", ["tcpSocket", "grpc"])
    def test_what_cannot_go_through_is_refused(self, way: str) -> None:
        assert f"as {way}" in problems(workload({"startupProbe": {way: {"port": 3000}}}, bind_env="HOST"))[0]

    def test_tls_is_refused(self) -> None:
        asks = {"readinessProbe": {"httpGet": {"port": 3000, "scheme": "HTTPS"}}}
        assert "speaks TLS" in problems(workload(asks))[0]

    def test_everyone_waits_for_the_drain(self) -> None:
        helper = {"name": "helper", "image": "h", "lifecycle": {"postStart": {"exec": {"command": ["true"]}}}}
        manifest = workload()
        pod(manifest)["containers"].append(helper)
        for container in pod(guarded(manifest)[0])["containers"]:
            assert container["lifecycle"]["preStop"] == {"httpGet": {"path": "/drain/wait", "port": 9090}}

    def test_a_hook_of_ones_own_is_kept_and_said(self) -> None:
        own = {"lifecycle": {"preStop": {"sleep": {"seconds": 5}}}}
        assert own.items() <= pod(guarded(workload(own))[0])["containers"][0].items()
        assert "keeps its own preStop hook" in notes(workload(own))
        assert "keeps its own" not in notes(workload({"lifecycle": {"preStop": {"sleep": {"seconds": 30}}}}))

    @pytest.mark.parametrize(("given", "then"), [(None, 45), (30, 45), (45, 45), (600, 600)])
    def test_there_is_time_for_the_drain(self, given: int | None, then: int) -> None:
        (manifest, *_) = guarded(workload(pod={"terminationGracePeriodSeconds": given}))
        assert pod(manifest)["terminationGracePeriodSeconds"] == then

    def test_the_guard_comes_after_what_prepares_the_application(self) -> None:
        (manifest, *_) = guarded(workload(pod={"initContainers": [{"name": "migrate", "image": "m"}]}))
        assert [one["name"] for one in pod(manifest)["initContainers"]] == ["migrate", "wsguard"]


class TestWhich:
    """Which workloads get a guard."""

    def test_all_unless_they_say_no(self) -> None:
        two = [workload(), workload(inject="false")]
        assert [("initContainers" in pod(one)) for one in guarded(*two)[:2]] == [True, False]

    def test_once_one_says_yes_only_those(self) -> None:
        two = [workload(), workload(inject="true")]
        assert [("initContainers" in pod(one)) for one in guarded(*two)[:2]] == [False, True]

    @pytest.mark.parametrize("kind", ["Job", "CronJob"])
    def test_a_job_is_refused_with_the_reason(self, kind: str) -> None:
        job = {"apiVersion": "batch/v1", "kind": kind, "metadata": {"name": "migrate"}, "spec": {}}
        (why,) = problems(job)
        assert why.startswith(f"{kind} migrate gets no guard: a {kind}")
        assert job in guarded(job, workload())
        assert "gets no guard" in notes(job, workload())
        job["metadata"]["annotations"] = {"wsguard.dev/inject": "true"}  # type: ignore[index]
        assert problems(job, workload())

    def test_a_kind_of_the_same_name_in_another_group_is_another(self) -> None:
        other = {"apiVersion": "example.com/v1", "kind": "Deployment", "metadata": {"name": "x"}}
        assert guarded(other) == [other]


def test_every_problem_is_said_at_once_and_where_it_is() -> None:
    text = yaml.safe_dump_all(
        [workload(inject="yes", app_prot="3000", drain_window="0s"), workload({"ports": []}, image="a b")],
        sort_keys=False,
    )
    lines = [text.splitlines()[problem.line - 1].strip() for problem in inject(text, "x.yaml").problems]
    assert lines == [
        "wsguard.dev/inject: 'yes'",
        "wsguard.dev/app-prot: '3000'",
        "wsguard.dev/drain-window: 0s",
        "apiVersion: apps/v1",
        "wsguard.dev/image: a b",
    ]


def test_a_place_is_one_of_the_file_also_where_a_guard_was_in_it() -> None:
    text = inject(yaml.safe_dump(workload()), "x.yaml").text.replace("- containerPort: 3000", "- containerPort: 'x'")
    (problem,) = inject(text, "x.yaml").problems
    assert text.splitlines()[problem.line - 1].strip() == "apiVersion: apps/v1"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [", "this is not YAML"),
        ("a: {{ .Values.x }}\nb: [", "this looks like a template"),
        ("a: *b", "stands for nothing"),
        ("[" * 200, "nest deeper than 100"),
        ("? [a]\n: b", "a key must be text"),
    ],
)
def test_what_cannot_be_read_is_a_problem_with_a_place(text: str, why: str) -> None:
    (problem,) = inject(text, "x.yaml").problems
    assert why in problem.message
    assert str(problem).startswith("x.yaml:")


def test_what_an_anchor_shares_is_not_changed_for_one_of_its_places() -> None:
    text = yaml.safe_dump(workload()).replace("containers:\n", "containers: &all\n") + "x: *all\n"
    (problem,) = inject(text, "x.yaml").problems
    assert "shared by an anchor" in problem.message


def test_what_a_merge_key_brings_is_not_hidden() -> None:
    text = (
        yaml.safe_dump(workload())
        .replace("containers:\n      - ", "containers:\n      - <<: *base\n        ")
        .replace("apiVersion", "x: &base {lifecycle: {postStart: {exec: {command: [warm]}}}}\napiVersion", 1)
    )
    (problem,) = inject(text, "x.yaml").problems
    assert '"lifecycle" comes from a merge key' in problem.message


def test_an_alias_is_read_where_nothing_of_it_is_to_change() -> None:
    text = yaml.safe_dump(workload()).replace("app: chat", "app: &name chat", 1).replace("app: chat", "app: *name")
    assert not inject(text, "x.yaml").problems


def test_a_key_that_stands_twice_is_refused_where_something_is_to_change() -> None:
    (problem,) = inject(yaml.safe_dump(workload()) + "kind: Deployment\n", "x.yaml").problems
    assert problem.message == 'the key "kind" stands twice'


def test_somebody_elses_container_of_the_name_is_refused() -> None:
    manifest = workload(
        pod={"initContainers": [{"name": "wsguard", "image": "x"}], "volumes": [{"name": "wsguard-tmp"}]}
    )
    assert len(problems(manifest)) == 2


def test_changed_annotations_take_effect() -> None:
    once = inject(yaml.safe_dump(workload(listen_port="8443")), "x.yaml").text
    changed = once.replace("annotations:\n", "annotations:\n    wsguard.dev/bind-env: HOST\n", 1)
    (manifest,) = yaml.safe_load_all(inject(changed, "x.yaml").text)  # and no NetworkPolicy any more
    assert pod(manifest)["containers"][0]["env"] == [{"name": "HOST", "value": "127.0.0.1"}]


def test_what_was_changed_by_hand_since_stays() -> None:
    once = inject(yaml.safe_dump(workload(pod={"terminationGracePeriodSeconds": 30})), "x.yaml").text
    changed = once.replace("terminationGracePeriodSeconds: 45", "terminationGracePeriodSeconds: 120")
    for result in (inject(changed, "x.yaml"), uninject(changed, "x.yaml")):
        assert "terminationGracePeriodSeconds: 120" in result.text


def test_what_was_taken_out_by_hand_since_is_not_missed() -> None:
    once = inject(yaml.safe_dump(workload(bind_env="HOST")), "x.yaml").text
    (manifest,) = yaml.safe_load_all(once)
    del pod(manifest)["initContainers"], pod(manifest)["volumes"]
    (bare,) = yaml.safe_load_all(uninject(yaml.safe_dump(manifest), "x.yaml").text)
    assert bare == workload(bind_env="HOST")


def test_an_anchor_before_a_list_is_no_hindrance() -> None:
    text = yaml.safe_dump(workload()).replace("containers:\n", "containers: &all\n")
    result = inject(
        text.replace("spec:\n      containers", "spec:\n      volumes: &v\n      - name: d\n      containers"), "x"
    )
    assert not result.problems
    assert [volume["name"] for volume in pod(next(yaml.safe_load_all(result.text)))["volumes"]] == ["d", "wsguard-tmp"]


@pytest.mark.parametrize("record", ["", "no", "[1]", '[{"at": 1}]', '[{"at": [[]]}]', "[" * 9999])
def test_a_record_of_somebody_else_is_a_problem(record: str) -> None:
    manifest = workload()
    manifest["metadata"]["annotations"]["wsguard.dev/injected"] = record
    (problem,) = uninject(yaml.safe_dump(manifest), "x.yaml").problems
    assert "is not as wsguard writes it" in problem.message


def test_one_json_object_has_no_room_for_two() -> None:
    import json

    assert "has no room for two" in inject(json.dumps(workload()), "x.json").problems[0].message
