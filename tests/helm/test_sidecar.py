"""The library: what becomes of an application's workload."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.helm.charts import GIVEN, HelmError, guard, one, template
from tests.helm.workloads import manifest
from tests.kubernetes.manifests import pod
from wsguard.cli import _parser, main
from wsguard.ops.drainer import STRAGGLERS

POLICY = (Path(__file__).parents[2] / "policies/cookie-app.yaml").read_text("utf-8")


def workload(app: Path, tmp_path: Path, text: str, **values: Any) -> dict[str, Any]:
    """What the library makes of `text`, the manifest of a workload."""
    chart = tmp_path / "app"
    shutil.copytree(app, chart)
    body = '{{- define "x" -}}\n' + text + '\n{{- end }}\n{{- include "wsguard.workload" (list . "x") }}\n'
    (chart / "templates/app.yaml").write_text(body)
    (rendered,) = template(chart, {"wsguard": {**GIVEN, "secrets": [], **values}})
    return rendered


@pytest.fixture(scope="module")
def rendered(app: Path) -> list[dict[str, Any]]:
    return template(app, {"wsguard": {"policies": {"chat": POLICY}}})


@pytest.fixture(scope="module")
def spec(rendered: list[dict[str, Any]]) -> dict[str, Any]:
    return pod(one(rendered, "Deployment"))


def test_it_is_a_native_sidecar_after_the_other_init_containers(app: Path, tmp_path: Path) -> None:
    made = pod(workload(app, tmp_path, manifest(initContainers=[{"name": "migrate", "image": "app:1"}])))
    assert [each["name"] for each in made["initContainers"]] == ["migrate", "wsguard"]
    assert made["initContainers"][1]["restartPolicy"] == "Always"
    assert [each["name"] for each in made["containers"]] == ["app"]


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
def test_any_workload_that_serves_is_guarded(app: Path, tmp_path: Path, kind: str) -> None:
    made = workload(app, tmp_path, manifest(kind))
    assert made["kind"] == kind
    assert guard(pod(made))


@pytest.mark.parametrize("kind", ["Job", "CronJob", "Pod"])
def test_any_other_is_refused_with_a_reason(app: Path, tmp_path: Path, kind: str) -> None:
    with pytest.raises(HelmError, match=f"a guard stands before a Deployment, StatefulSet or DaemonSet, not .*{kind}"):
        workload(app, tmp_path, manifest(kind))


def test_its_arguments_are_a_command_line_that_the_guard_understands(spec: dict[str, Any]) -> None:
    container = guard(spec)
    args = _parser().parse_args(container["args"])
    assert args.command == "run"
    assert args.policy == ["/etc/wsguard/policies"]
    assert args.backend == "http://127.0.0.1:3000"
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert (args.listen, args.admin) == (f"0.0.0.0:{ports['wsguard']}", f"0.0.0.0:{ports['wsguard-admin']}")


def test_probes_ask_what_there_is_on_the_admin_port_by_its_number(spec: dict[str, Any]) -> None:
    container = guard(spec)
    asked = {each: container[f"{each}Probe"]["httpGet"] for each in ("startup", "liveness", "readiness")}
    assert {each: get["path"] for each, get in asked.items()} == {
        "startup": "/startupz",
        "liveness": "/livez",
        "readiness": "/readyz",
    }
    assert {get["port"] for get in asked.values()} == {9090}


def test_its_hook_drains_and_everybody_elses_waits_for_it(app: Path, tmp_path: Path) -> None:
    containers = [{"name": "app", "image": "app:1", "lifecycle": {"postStart": {"exec": {"command": ["x"]}}}}]
    containers.append({"name": "other", "image": "other:1"})
    made = pod(workload(app, tmp_path, manifest(containers=containers)))
    command = guard(made)["lifecycle"]["preStop"]["exec"]["command"]
    args = _parser().parse_args(command[1:])
    assert (command[0], args.command, args.after, args.window, args.wait) == ("wsguard", "drain", "5s", "20s", True)
    waits = [each["lifecycle"]["preStop"] for each in made["containers"]]
    assert waits == [{"httpGet": {"path": "/drain/wait", "port": 9090}}] * 2
    assert made["containers"][0]["lifecycle"]["postStart"], "what was there stays"


def test_a_hook_of_the_applications_own_is_not_overwritten(app: Path, tmp_path: Path) -> None:
    hook = {"preStop": {"exec": {"command": ["nginx", "-s", "quit"]}}}
    text = manifest(containers=[{"name": "app", "image": "app:1", "lifecycle": hook}])
    with pytest.raises(HelmError, match=r"the container app has a preStop hook .*/drain/wait.* wsguard\.ownPreStop"):
        workload(app, tmp_path / "1", text)
    made = pod(workload(app, tmp_path / "2", text, ownPreStop=["app"]))
    assert made["containers"][0]["lifecycle"] == hook


@pytest.mark.parametrize(("after", "window", "shutdown"), [(5, 20, 10), (0, 0, 0), (3, 600, 60)])
def test_the_grace_period_covers_the_drain(app: Path, tmp_path: Path, after: int, window: int, shutdown: int) -> None:
    drain = {"after": after, "window": window, "appShutdown": shutdown}
    made = pod(workload(app, tmp_path, manifest(), drain=drain))
    assert made["terminationGracePeriodSeconds"] >= after + window + STRAGGLERS + shutdown + 5


def test_a_longer_grace_period_stays_and_a_shorter_one_is_refused(app: Path, tmp_path: Path) -> None:
    made = pod(workload(app, tmp_path / "1", manifest(terminationGracePeriodSeconds=300)))
    assert made["terminationGracePeriodSeconds"] == 300
    for number, short in enumerate((0, 30, 44)):
        with pytest.raises(HelmError, match=f"terminationGracePeriodSeconds is {short}, but .* need 45"):
            workload(app, tmp_path / f"short-{number}", manifest(terminationGracePeriodSeconds=short))


def test_it_has_no_rights(spec: dict[str, Any]) -> None:
    assert guard(spec)["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def test_every_mount_has_its_volume_and_only_tmp_can_be_written(spec: dict[str, Any]) -> None:
    mounts = guard(spec)["volumeMounts"]
    assert {each["name"] for each in mounts} == {each["name"] for each in spec["volumes"]}
    assert [each["mountPath"] for each in mounts if not each.get("readOnly")] == ["/tmp"]


def test_what_the_application_mounts_stays(app: Path, tmp_path: Path) -> None:
    made = pod(workload(app, tmp_path, manifest(volumes=[{"name": "data", "emptyDir": {}}])))
    assert [each["name"] for each in made["volumes"]] == ["data", "wsguard-tmp"]


def test_policies_are_a_config_map_of_files_that_the_guard_reads(
    rendered: list[dict[str, Any]], spec: dict[str, Any], tmp_path: Path
) -> None:
    config_map = one(rendered, "ConfigMap")
    (volume,) = [each for each in spec["volumes"] if each["name"] == "wsguard-policies"]
    assert volume["configMap"]["name"] == config_map["metadata"]["name"]
    assert {name: text.strip() for name, text in config_map["data"].items()} == {"chat.yaml": POLICY.strip()}
    (tmp_path / "chat.yaml").write_text(config_map["data"]["chat.yaml"])
    assert main(["check", str(tmp_path)]) == 0


def test_secrets_are_mounted_and_never_rendered(rendered: list[dict[str, Any]], spec: dict[str, Any]) -> None:
    assert not [each for each in rendered if each["kind"] == "Secret"]
    (volume,) = [each for each in spec["volumes"] if each["name"] == "wsguard-secrets"]
    assert volume["projected"]["sources"] == [{"secret": {"name": "my-app-login"}}]
    assert set(one(rendered, "ConfigMap")["data"]) == {"chat.yaml"}


def test_without_policies_the_built_in_one_holds(app: Path, tmp_path: Path) -> None:
    made = pod(workload(app, tmp_path, manifest()))
    assert not [word for word in guard(made)["args"] if "policy" in word]
    assert [each["name"] for each in made["volumes"]] == ["wsguard-tmp"]


def test_a_config_map_from_elsewhere(app: Path, tmp_path: Path) -> None:
    made = pod(workload(app, tmp_path / "1", manifest(), existingConfigMap="theirs"))
    assert made["volumes"][0] == {"name": "wsguard-policies", "configMap": {"name": "theirs"}}
    with pytest.raises(HelmError, match="give one of the two"):
        workload(app, tmp_path / "2", manifest(), existingConfigMap="theirs", policies={"chat": POLICY})
    with pytest.raises(HelmError, match="Rollout needs wsguard"):
        workload(app, tmp_path / "3", manifest(), existingConfigMap="theirs", onPolicyChange="Rollout")


def test_a_rollout_follows_the_policies_and_a_reload_does_not(app: Path, tmp_path: Path) -> None:
    def annotations(number: int, policy: str, **values: Any) -> dict[str, str]:
        made = workload(app, tmp_path / str(number), manifest(), policies={"chat": policy}, **values)
        found: dict[str, str] = made["spec"]["template"]["metadata"].get("annotations", {})
        return found

    first, second = (annotations(i, text, onPolicyChange="Rollout") for i, text in enumerate((POLICY, POLICY + "#")))
    assert first.keys() == second.keys() == {"checksum/wsguard-policies"}
    assert first != second
    assert annotations(2, POLICY, onPolicyChange="Reload") == {}


def test_only_the_guards_ports_can_be_reached(rendered: list[dict[str, Any]]) -> None:
    policy = one(rendered, "NetworkPolicy")["spec"]
    labels = one(rendered, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["policyTypes"] == ["Ingress"]
    assert [port["port"] for rule in policy["ingress"] for port in rule["ports"]] == [8080]
    assert one(rendered, "Service")["spec"]["ports"][0]["targetPort"] == 8080


def test_other_ports_can_be_opened(app: Path) -> None:
    prometheus = [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]
    more = [{"ports": [{"port": 7946}]}]
    values = {"networkPolicy": {"from": prometheus, "metricsFrom": prometheus, "extraIngress": more}}
    rules = one(template(app, {"wsguard": values}), "NetworkPolicy")["spec"]["ingress"]
    assert rules == [
        {"ports": [{"port": 8080, "protocol": "TCP"}], "from": prometheus},
        {"ports": [{"port": 9090, "protocol": "TCP"}], "from": prometheus},
        *more,
    ]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"image": {"repository": ""}}, "wsguard.image.repository is required"),
        ({"backend": ""}, "wsguard.backend is required"),
        ({"backend": "http://app:3000/ws"}, "backend"),
        ({"backend": "https://app:3000"}, "backend"),
        ({"backnd": "http://app:3000"}, "backnd"),
        ({"policies": {"Chat.yaml": "x"}}, "Chat.yaml"),
        ({"onPolicyChange": "Restart"}, "onPolicyChange"),
        ({"ports": {"public": 80}}, "public"),
        ({"drain": {"window": "20s"}}, "window"),
        ({"image": {"digest": "sha256:1"}}, "digest"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(app: Path, values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(HelmError, match=complaint):
        template(app, {"wsguard": values})


def test_the_image_by_tag_and_by_digest(app: Path) -> None:
    def image(**values: str) -> str:
        found: str = guard(pod(one(template(app, {"wsguard": {"image": values}}), "Deployment")))["image"]
        return found

    digest = f"sha256:{'0' * 64}"
    assert image() == "registry.example.com/wsguard:0.1.0"
    assert image(tag="edge") == "registry.example.com/wsguard:edge"
    assert image(tag="edge", digest=digest) == f"registry.example.com/wsguard@{digest}"
