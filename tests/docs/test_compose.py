"""examples/chat/compose.yaml: what it names is there, and nothing but the guard can be reached."""

from __future__ import annotations

import json
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.programs import ROOT
from wsguard.cli import _parser, main
from wsguard.policy.fields import parse_duration
from wsguard.policy.model_guard import Shutdown

FOLDER = ROOT / "examples/chat"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))
APP, GUARD = COMPOSE["services"]["app"], COMPOSE["services"]["guard"]
ARGUMENTS = _parser().parse_args(GUARD["command"])


@pytest.mark.parametrize("service", [APP, GUARD], ids=["app", "guard"])
def test_each_is_built_from_a_dockerfile(service: dict[str, Any]) -> None:
    assert "image" not in service  # none is published
    assert (FOLDER / service["build"] / "Dockerfile").exists()


def test_the_guard_reads_the_policies_of_the_example() -> None:
    (volume,) = GUARD["volumes"]
    source, target, mode = volume.split(":")
    assert (ARGUMENTS.policy, mode) == ([target], "ro")
    assert main(["check", str(FOLDER / source)]) == 0


def test_only_the_guards_port_is_published_and_only_here() -> None:
    """They share one network; the application itself listens on loopback."""
    assert GUARD["network_mode"] == "service:app"
    assert "ports" not in GUARD
    (published,) = APP["ports"]
    host, _, container = published.split(":")
    assert ip_address(host).is_loopback
    assert ARGUMENTS.listen == f"0.0.0.0:{container}"
    assert ARGUMENTS.admin is None
    assert 'http.listen(port, "127.0.0.1"' in (FOLDER / "app.mjs").read_text("utf-8")
    assert ARGUMENTS.backend == "http://127.0.0.1:3000"
    assert "PORT ?? 3000" in (FOLDER / "app.mjs").read_text("utf-8")


def test_the_guard_has_no_rights_and_time_to_drain() -> None:
    assert (GUARD["read_only"], GUARD["cap_drop"], GUARD["tmpfs"]) == (True, ["ALL"], ["/tmp"])
    window = Shutdown().drain_window
    assert parse_duration(GUARD["stop_grace_period"]) >= window + 10


def test_the_dockerfile_of_the_chat_takes_what_is_there() -> None:
    text = (FOLDER / "Dockerfile").read_text("utf-8")
    (copied,) = [line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY")]
    assert all((FOLDER / name).exists() for name in copied)
    assert json.loads(text.partition("ENTRYPOINT ")[2]) == ["node", "app.mjs"]
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, "--no-color", FOLDER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
