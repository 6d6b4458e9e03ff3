"""From Audit to Enforce: what the trail of a running guard says, and what `wsguard report` makes of it."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.backend import RecordingBackend
from tests.support.guard import JWT, Guard, policy
from tests.support.waiting import eventually
from wsguard.cli import main

SPEC = f"match: {{paths: [{{type: PathPrefix, value: /ws}}]}}\nenforcement: Audit\n{JWT}"
CONFIG = """
apiVersion: wsguard.dev/v1
kind: GuardConfig
spec: {logging: {level: error, auditFile: "{folder}/audit.log"}}
"""


def trail(path: Path, event: str) -> list[dict[str, Any]]:
    """The events of one name that are in the file so far."""
    lines = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    return [line for line in lines if line["event"] == event]


async def test_from_audit_to_report(capsys: pytest.CaptureFixture[str]) -> None:
    async with (
        RecordingBackend() as backend,
        Guard(backend, {"policy.yaml": policy(SPEC), "guard.yaml": CONFIG}) as guard,
    ):
        path = guard.folder / "audit.log"
        async with aiohttp.ClientSession() as client:
            for origin in ("http://partner.test", "http://partner.test", guard.url):
                await client.ws_connect(f"{guard.ws}/ws", origin=origin)
            await client.ws_connect(f"{guard.ws}/elsewhere", origin=guard.url)
        await eventually(lambda: len(trail(path, "handshake")) == 4, 10, "four decisions in the trail")
        seen = [(line["result"], line["reason"]) for line in trail(path, "handshake")]
        assert seen == [("audited", "origin-denied")] * 2 + [
            ("audited", "credential-missing"),
            ("refused", "no-policy"),
        ]
        (loaded,) = trail(path, "policies_loaded")
        assert {line["revision"] for line in trail(path, "handshake")} == {loaded["revision"]}
        assert guard.logs == []  # the level is error, and the trail has a file of its own
        assert main(["report", str(path)]) == 0
        out = capsys.readouterr().out
        assert "  of 3 handshakes Enforce would have refused 3:\n    2  origin-denied  http://partner.test\n" in out

        path.rename(guard.folder / "audit.log.1")
        guard.program.process.send_signal(signal.SIGHUP)
        await eventually(path.exists, 10, "a new file after SIGHUP")


async def test_what_an_operator_does_is_in_it_with_who_did_it(capsys: pytest.CaptureFixture[str]) -> None:
    async with RecordingBackend() as backend, Guard(backend) as guard:
        assert main(["logout", "--subject", "ann", "--control", str(guard.control)]) == 0
        line = await guard.log({"event": "control_request"})
        assert (line["method"], line["path"], line["status"]) == ("POST", "/v1/logout", 200)
        assert line["actor"].startswith("uid ")
        await guard.ask("GET", "/v1/connections")
        assert (await guard.ask("DELETE", "/v1/connections/none"))[0] == 404
        await guard.log({"event": "control_request", "method": "DELETE", "status": 404})
        assert not [line for line in guard.logs if line.get("method") == "GET"]


async def test_a_signal_that_changes_nothing_is_answered() -> None:
    async with RecordingBackend() as backend, Guard(backend, policy(SPEC)) as guard:
        guard.program.process.send_signal(signal.SIGHUP)
        await guard.log({"event": "policies_unchanged"})


async def test_a_trail_that_cannot_be_written_is_no_start() -> None:
    config = CONFIG.replace("{folder}", "/nowhere")
    async with RecordingBackend() as backend:
        guard = Guard(backend, {"guard.yaml": config})
        await guard.program.start()
        assert await guard.program.wait(20) == 2
        said = "cannot write /nowhere/audit.log (logging.auditFile): No such file or directory"
        assert any(said in line for line in guard.program.errors)
