"""What docs/kubernetes.md shows is rendered, and its commands are run, as far as that needs no cluster."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.charts import guard, helm, one, template
from tests.kubernetes.manifests import pod
from tests.support.programs import ROOT
from wsguard.cli import _parser, main
from wsguard.config.files import policy_files

TEXT = (ROOT / "docs/kubernetes.md").read_text("utf-8")
START = (ROOT / "docs/start.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [shlex.split(line[2:]) for kind, block in BLOCKS if kind == "console" for line in block.splitlines()]
POLICY = (ROOT / "policies/cookie-app.yaml").read_text("utf-8")


def block(begins: str) -> Any:
    """The YAML block that begins like this."""
    (found,) = [text for kind, text in BLOCKS if kind == "yaml" and text.startswith(begins)]
    return yaml.safe_load(found)


@pytest.fixture(scope="module")
def spec(app: Path) -> dict[str, Any]:
    return pod(one(template(app, {"wsguard": {"policies": {"chat": POLICY}}}, release="my-app"), "Deployment"))


def test_the_container_is_what_the_library_makes(spec: dict[str, Any]) -> None:
    assert guard(spec) == block("name: wsguard\n")


def test_the_rest_of_the_pod_is_too(spec: dict[str, Any]) -> None:
    assert spec["volumes"] == block("- name: wsguard-policies\n")
    assert spec["containers"][0]["lifecycle"] == block("lifecycle:\n")["lifecycle"]
    assert f"`terminationGracePeriodSeconds: {spec['terminationGracePeriodSeconds']}`" in TEXT


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[:3]))
def test_commands_work(clone: Path, words: list[str]) -> None:
    match words:
        case ["helm", "dependency", "build", chart]:
            helm("dependency", "build", chart, cwd=clone)
        case ["helm", "upgrade", "--install", release, chart, *arguments, "--wait"]:
            assert helm("template", release, chart, *arguments, cwd=clone)
        case ["kubectl", "apply", "--kustomize", folder]:  # tests/helm/test_kustomize.py builds it
            assert (clone / folder / "kustomization.yaml").exists()
        case ["kubectl", "exec", _, "-c", "wsguard", "--", "wsguard", *arguments]:
            _parser().parse_args(arguments)
        case ["kubectl", "annotate" | "scale", *_]:
            pass  # the cluster's own: nothing of ours is in it
        case ["helm", "test", release]:  # tests/helm/test_knock.py runs what that runs
            assert ["helm", "upgrade", "--install", release] in [command[:4] for command in COMMANDS]
        case ["docker", "build", "--build-arg", argument, "--tag", _, "."]:
            name, _, lock = argument.partition("=")
            assert f"ARG {name}=" in (ROOT / "Dockerfile").read_text("utf-8")
            assert (ROOT / lock).exists()
        case ["docker", "push", image]:
            assert image == block("name: wsguard\n")["image"]
        case _:
            raise AssertionError(f"no test knows how to run {words}")


def test_the_policies_can_be_used(clone: Path) -> None:
    assert main(["check", str(clone / "guard.yaml"), str(ROOT / "policies/cookie-app.yaml")]) == 0


def test_the_gateway_says_nothing_is_missing(clone: Path) -> None:
    (command,) = [words for words in COMMANDS if "wsguard/helm/wsguard-gateway" in words and "upgrade" in words]
    text = helm("install", "--dry-run=client", *command[3:-1], cwd=clone)
    assert "3 guards stand before http://my-app.default.svc:3000" in text
    assert not re.search("^[A-Z]{2}", text.partition("NOTES:")[2], re.MULTILINE)


def test_the_gateway_of_the_ten_minute_start_is_rendered(clone: Path) -> None:
    (command,) = re.findall(r"^\$ (helm upgrade --install .*)$", START, re.MULTILINE)
    *words, wait = shlex.split(command)
    assert wait == "--wait"
    rendered = helm("template", *words[3:], cwd=clone / "wsguard")
    assert "--backend=http://chat.default.svc:3000" in rendered
    assert "name: cookie-app" in rendered


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    assert {kind for kind, _ in BLOCKS} == {"console", "yaml"}
    named = {text.partition("\n")[0] for kind, text in BLOCKS if kind == "yaml"}
    assert {line for line in named if not line.startswith("# ")} == {
        "name: wsguard",
        "- name: wsguard-policies",
        "lifecycle:",
    }


def test_a_mounted_config_map_is_policies(tmp_path: Path) -> None:
    """As the kubelet lays it out: each file a link through `..data`."""
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026/chat.yaml").write_text(POLICY)
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "chat.yaml").symlink_to("..data/chat.yaml")
    assert policy_files(tmp_path) == [tmp_path / "chat.yaml"]
