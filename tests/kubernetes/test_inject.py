"""Which workloads get a guard, what is refused, and what injecting again makes of it."""

from __future__ import annotations

import pytest
import yaml

from tests.kubernetes.manifests import guarded, notes, pod, problems, workload
from wsguard.cli import _parser
from wsguard.kubernetes.inject import inject, uninject


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


class TestWhich:
    """Which workloads get a guard."""

    def test_all_unless_they_say_no(self) -> None:
        two = [workload(), workload(inject="false")]
        assert [("initContainers" in pod(one)) for one in guarded(*two)[:2]] == [True, False]

    def test_once_one_says_yes_only_those(self) -> None:
        two = [workload(), workload(inject="true")]
        assert [("initContainers" in pod(one)) for one in guarded(*two)[:2]] == [False, True]

    def test_pods_of_a_kind_that_others_have_made_up_are_not_passed_over(self) -> None:
        rollout = workload() | {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout"}
        assert problems(rollout) == [
            "Rollout chat gets no guard: a guard goes into a Deployment, StatefulSet or DaemonSet"
        ]
        assert "Rollout chat gets no guard" in notes(workload(), rollout | {"metadata": {"name": "chat"}})

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
