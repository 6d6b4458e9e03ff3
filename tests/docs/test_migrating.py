"""docs/migrating.md: its policies decide as the tables say, and nginx takes its configuration."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.programs import ROOT, need
from wsguard.cli import main

TEXT = (ROOT / "docs/migrating.md").read_text("utf-8")
POLICIES = dict(re.findall(r"^```yaml\n# (\S+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
ANSWERS = {
    200: {"result": "admitted"},
    202: {"result": "admitted"},
    401: {"result": "refused", "reason": "credential-invalid"},
    302: {"result": "refused", "reason": "credential-invalid"},
    403: {"result": "refused", "reason": "not-authorized"},
    500: {"result": "refused", "reason": "identity-unavailable", "code": 1011},
    429: {"result": "refused", "reason": "identity-unavailable"},
}
"""What becomes of a handshake when the service answers so."""

TESTS = {
    "apiVersion": "wsguard.dev/v1",
    "kind": "PolicyTest",
    "metadata": {"name": "migrating"},
    "spec": {
        "tests": [
            {
                "name": f"{status}",
                "request": {
                    "url": "wss://app.example.com/ws",
                    "origin": "https://app.example.com",
                    "cookies": {"c": "1"},
                },
                "forwardAuth": {"status": status, "body": {"email": "ann@example.com"}},
                "expect": expected,
            }
            for status, expected in ANSWERS.items()
        ]
    },
}


@pytest.mark.parametrize("name", POLICIES)
def test_the_policies_decide_as_the_tables_say(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / Path(name).name
    path.write_text(POLICIES[name])
    path.with_suffix(".test.yaml").write_text(yaml.safe_dump(TESTS))
    assert main(["check", str(path)]) == 0
    assert main(["test", str(path.with_suffix(".test.yaml"))]) == 0, capsys.readouterr().out


def test_nginx_takes_the_configuration(tmp_path: Path) -> None:
    ((block,),) = [re.findall(r"^```nginx\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)]
    path = tmp_path / "nginx.conf"
    path.write_text(f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ access_log off;\n{block} }}")
    done = subprocess.run(
        [need("nginx"), "-t", "-p", tmp_path, "-c", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_fields_that_are_named_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    """Those in the tables' right halves, in backquotes."""
    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    known = set(re.findall(r'"(\w+)": \{', json.dumps(schema)))
    rights = [line.split(" | ")[1] for line in TEXT.splitlines() if re.match(r"\| .* \| ", line)]
    named = re.findall(r"`([a-z]\w+[A-Z]\w*(?:\.\w+)*)`", " ".join(rights))
    assert {part for name in named for part in name.split(".")} <= known
