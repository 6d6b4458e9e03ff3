"""A guard as an operator runs it: a process of its own, asked over its ports and its control socket."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import textwrap
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.support.backend import RecordingBackend
from tests.support.nursery import Newborn, bear
from tests.support.ports import free_port
from tests.support.programs import LONGEST, ROOT, Program
from tests.support.tokens import Issuer
from tests.support.waiting import eventually

START = 20.0
"""Seconds within which a guard must be ready, on a machine that does other things as well."""


class _Born(Program):
    """`python -m wsguard …`, out of the nursery."""

    async def _spawn(self) -> Newborn:
        return await bear(self.command[3:], self._env, self._cwd, LONGEST)


class Guard:
    """`wsguard run` on ports of its own, in front of `backend`.

    `policies` are the texts of policy files by name, written into `folder`, which the guard watches; a
    plain text is one file. `hmac.key` in that folder holds the secret of `issuer`, an HS256 `Issuer`.
    Without policies the guard's own default is in force. `python` replaces `-m wsguard` where a test
    needs a prepared interpreter.
    """

    is_born = False
    """Whether guards come out of the nursery, unless an interpreter is prepared: in tests, not in benchmarks."""

    def __init__(
        self,
        backend: RecordingBackend | str,
        policies: Mapping[str, str] | str = "",
        *arguments: str,
        env: Mapping[str, str] | None = None,
        python: tuple[str, ...] = ("-m", "wsguard"),
    ) -> None:
        self.port, self.admin_port = free_port(), free_port()
        self._forgotten = 0
        self.issuer = Issuer.of("HS256")
        self._home = tempfile.TemporaryDirectory(prefix="wsguard-test-")
        self.folder = Path(self._home.name) / "policies"
        self.folder.mkdir()
        self.control = Path(self._home.name) / "control.sock"
        self.issuer.write_secret(self.folder / "hmac.key")
        for name, text in ({"policy.yaml": policies} if isinstance(policies, str) else policies).items():
            if text:
                self.write(name, text)
                arguments = ("--policy", str(self.folder), *arguments)
        url = backend if isinstance(backend, str) else backend.url
        kind = _Born if self.is_born and python == ("-m", "wsguard") else Program
        self.program = kind(
            sys.executable, *python, "run",
            "--backend", url,
            "--listen", f"127.0.0.1:{self.port}",
            "--admin", f"127.0.0.1:{self.admin_port}",
            "--control", str(self.control),
            *dict.fromkeys(arguments),
            env=env,
        )  # fmt: skip

    @property
    def url(self) -> str:
        """The public port over HTTP."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        """The public port over WebSocket."""
        return f"ws://127.0.0.1:{self.port}"

    @property
    def admin(self) -> str:
        """The admin port."""
        return f"http://127.0.0.1:{self.admin_port}"

    def write(self, name: str, text: str) -> None:
        """Put a policy file into the watched folder, atomically; `{folder}` in it is the folder's path."""
        temporary = self.folder / f".{name}"
        temporary.write_text(textwrap.dedent(text).replace("{folder}", str(self.folder)))
        temporary.rename(self.folder / name)

    async def start(self) -> None:
        """Start it, and wait until it is ready."""
        await self.program.start()
        await eventually(self._ready, START, "the guard is ready")

    async def __aenter__(self) -> Guard:
        try:
            await self.start()
        except BaseException:
            await self.program.end()
            self._home.cleanup()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.program.process.returncode is None:
            self.program.process.kill()  # a drain is what some tests ask for; the end of a test is none
        await self.program.wait()
        self._home.cleanup()
        if error is None:
            assert not any("Traceback" in line for line in self.program.errors), self.program.errors

    async def terminate(self, deadline: float = 30.0) -> int:
        """SIGTERM, and wait for its end; the exit status."""
        self.program.process.send_signal(signal.SIGTERM)
        return await self.program.wait(deadline)

    @property
    def logs(self) -> list[dict[str, Any]]:
        """Every log line so far, from the last `forget` on."""
        return [json.loads(line) for line in self.program.lines[self._forgotten :] if line.startswith("{")]

    def forget(self) -> None:
        """Look only at what is logged from now on."""
        self._forgotten = len(self.program.lines)

    async def is_idle(self) -> bool:
        """Whether no connection and no refusal is open."""
        return not await self.metric("wsguard_connections") and not await self.metric("wsguard_refusals_lingering")

    async def log(self, fields: Mapping[str, object], deadline: float = 10.0, *, count: int = 1) -> dict[str, Any]:
        """Wait for the `count`th log line that has all `fields`."""

        def found() -> dict[str, Any] | None:
            lines = [line for line in self.logs if _has(line, fields)]
            return lines[count - 1] if len(lines) >= count else None

        what = f"log line {count} with {fields}"
        try:
            return await eventually(found, deadline, what)
        except AssertionError:
            raise AssertionError(f"no {what} within {deadline} s: {self.program.lines[-20:]}") from None

    async def decided(self, **fields: object) -> dict[str, Any]:
        """Wait for the line of the first handshake that has all `fields`."""
        return await self.log({"event": "handshake", **fields})

    async def ended(self, **fields: object) -> dict[str, Any]:
        """Wait for the line of the first connection's end that has all `fields`."""
        return await self.log({"event": "connection_closed", **fields})

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples called `name` that have all `labels`; 0 where there is none."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.admin}/metrics") as response:
            text = await response.text()
        samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        return sum(
            sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items()
        )

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Ask the control socket; status and JSON body."""
        connector = aiohttp.UnixConnector(str(self.control))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(method, f"http://localhost{path}", json=body) as response,
        ):
            text = await response.text()
            return response.status, json.loads(text) if text else None

    async def connections(self) -> list[dict[str, Any]]:
        """What the registry holds."""
        _, answer = await self.ask("GET", "/v1/connections")
        listed: list[dict[str, Any]] = answer["connections"]
        return listed

    async def command(self, name: str, *arguments: str) -> tuple[int, str]:
        """Run `wsguard NAME` against this guard; exit status and what it printed on stdout."""
        program = Program(sys.executable, "-m", "wsguard", name, *arguments, "--control", str(self.control), cwd=ROOT)
        await program.start()
        return await program.wait(), "\n".join(program.lines)

    async def _ready(self) -> bool:
        if self.program.process.returncode is not None:
            raise AssertionError(f"the guard ended: {self.program.lines[-10:]} {self.program.errors[-10:]}")
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{self.admin}/readyz") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False


def _has(line: Mapping[str, object], fields: Mapping[str, object]) -> bool:
    return all(line.get(name) == value for name, value in fields.items())


def policy(spec: str = "", name: str = "chat") -> str:
    """A WebSocketPolicy document whose spec is the given YAML."""
    body = textwrap.indent(textwrap.dedent(spec).strip() or "{}", "  ")
    return f"apiVersion: wsguard.dev/v1\nkind: WebSocketPolicy\nmetadata: {{name: {name}}}\nspec:\n{body}\n"


JWT = """
jwt:
  providers:
  - name: corp
    issuer: https://idp.example.test
    audiences: [chat]
    algorithms: [HS256]
    localSecretFile: {folder}/hmac.key
    extractFrom: {cookies: [session]}
"""
"""A spec that demands a token of `Guard.issuer` in the cookie `session`."""
