"""The application speaks TLS, or listens on a Unix socket: WebSockets and plain HTTP reach it all the same."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import Conversation, RecordingBackend
from tests.support.certificates import Authority
from tests.support.client import connect, fetch
from tests.support.guard import Guard
from tests.support.wire import Head


def _config(url: str, tls: str = "{}", spec: str = "{}") -> str:
    return f"""
        apiVersion: wsguard.dev/v1
        kind: GuardConfig
        spec:
          backends: [{{url: "{url}", tls: {tls}}}]
        ---
        apiVersion: wsguard.dev/v1
        kind: WebSocketPolicy
        metadata: {{name: all}}
        spec: {spec}
    """


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """It signs the backend's certificate."""
    return Authority(tmp_path)


async def test_a_verified_backend(authority: Authority) -> None:
    """Both ways in: the WebSocket and plain HTTP; a Close of the guard's own arrives at both ends."""
    serving = authority.serving("app.internal")
    async with RecordingBackend(answers.accept(echo=True), tls=serving) as backend:
        config = _config(backend.url, f"{{caFile: {authority.file}, serverName: app.internal}}")
        async with Guard("", config) as guard, connect(guard.port) as client:
            await client.open(wire.upgrade())
            await client.send(wire.frame(wire.TEXT, b"over TLS"))
            assert (await client.frame()).payload == b"over TLS"
            head, body = await fetch(guard.port, "/page")
            assert (head.status, body) == (200, b"ok")
            assert backend.requests[-1].get("host") == "localhost"
            [connection] = await guard.connections()
            await guard.ask("DELETE", f"/v1/connections/{connection['id']}")
            assert await client.close_frame() == (4410, "terminated")
            await backend.conversations[0].until_ended()
            assert (await guard.ended())["delivery"] == "acknowledged"


WRONG = {
    "name": "Hostname mismatch, certificate is not valid for 'other.internal'.",
    "authority": "unable to get local issuer certificate",
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_backend_that_cannot_be_verified(authority: Authority, wrong: str) -> None:
    """It gets not a byte, and the log says what was wrong with it."""
    async with RecordingBackend(tls=authority.serving("app.internal")) as backend:
        tls = f"{{caFile: {authority.file}, serverName: other.internal}}" if wrong == "name" else "{}"
        if wrong == "authority":
            tls = "{serverName: app.internal}"
        async with Guard("", _config(backend.url, tls)) as guard, connect(guard.port) as client:
            await client.open(wire.upgrade())
            code, reason = await client.close_frame()
            assert (code, reason.partition(" ")[0]) == (4502, "backend-unreachable")
            why = f"certificate verify failed: {WRONG[wrong]}"
            assert (await guard.decided())["detail"] == f"cannot connect to the backend: {why}"
            head, _ = await fetch(guard.port, "/page")
            assert head.status == 502
            assert not backend.requests


async def test_a_new_authority_is_taken_from_its_file(authority: Authority, tmp_path: Path) -> None:
    """The file changes, and so does who is believed; nobody is restarted."""
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(Authority(tmp_path, "another").pem)
    async with (
        RecordingBackend(tls=authority.serving("127.0.0.1")) as backend,
        Guard("", _config(backend.url, f"{{caFile: {trusted}}}")) as guard,
    ):
        assert (await fetch(guard.port, "/"))[0].status == 502
        trusted.write_bytes(authority.pem)
        await guard.log({"event": "policies_loaded"}, count=2)
        assert (await fetch(guard.port, "/"))[0].status == 200
        async with connect(guard.port) as client:
            await client.open(wire.upgrade())
            await backend.conversation()


async def test_a_migration_trusts_its_target_by_the_targets_own_authority(authority: Authority, tmp_path: Path) -> None:
    """It begins towards none that cannot be verified, pauses when that changes, and goes on when it is mended."""
    another = Authority(tmp_path, "another")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(another.pem)
    serving = authority.serving("127.0.0.1")
    async with RecordingBackend() as blue, RecordingBackend(answers.accept(echo=True), tls=serving) as green:
        both = f'{{name: blue, url: "{blue.url}"}}, {{name: green, url: "{green.url}", tls: {{caFile: {trusted}}}}}'
        config = _config("", "{}").replace('{url: "", tls: {}}', both)
        async with Guard("", config) as guard, connect(guard.port) as client:
            await client.open(wire.upgrade())
            status, problem = await guard.ask("POST", "/v1/migrate", {"to": "green", "window": "20s"})
            why = "green cannot be dialled: certificate verify failed: unable to get local issuer certificate"
            assert (status, problem["detail"]) == (409, why)
            trusted.write_bytes(authority.pem)
            await guard.log({"event": "policies_loaded"}, count=2)
            assert (await guard.ask("POST", "/v1/migrate", {"to": "green", "window": "20s"}))[0] == 200
            serving.load_cert_chain(*another.server("127.0.0.1"))
            assert (await guard.log({"event": "migration_paused"}))["detail"] == why
            trusted.write_bytes(authority.pem + another.pem)
            await guard.log({"event": "migration_resumed"})
            assert (await guard.ask("POST", "/v1/migrate", {"to": "green", "window": "0s"}))[0] == 200
            assert (await client.close_frame())[1].partition(" ")[0] == "migrating"
            async with connect(guard.port) as moved:
                await moved.open(wire.upgrade())
                await moved.send(wire.frame(wire.TEXT, b"to green"))
                assert (await moved.frame()).payload == b"to green"


async def test_a_slow_client_reads_to_the_end_what_a_tls_backend_said(authority: Authority) -> None:
    """TLS has no half-close: a backend that closes behind its Close is lost, and its client has time all the same."""
    count = 40

    async def say_and_leave(conversation: Conversation, head: Head) -> None:
        said = wire.frame(wire.BINARY, bytes(20_000), masked=False) * count + wire.close_frame(1000, masked=False)
        await conversation.send(answers.switching(head) + said)
        conversation.close()

    async with RecordingBackend(say_and_leave, tls=authority.serving("127.0.0.1")) as backend:
        config = _config(backend.url, f"{{caFile: {authority.file}}}", "{rejection: {closeTimeout: 200ms}}")
        async with Guard("", config) as guard, connect(guard.port, receive_buffer=4096) as client:
            await client.open(wire.upgrade())
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.sleep(1.0)
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            for _ in range(count):
                assert len((await client.frame()).payload) == 20_000
            assert await client.close_frame() == (1000, "")
            await client.close()
            line = await guard.ended()
            assert (line["reason"], line["code"]) == ("backend-closed", 1000)


async def test_a_client_that_ends_its_half_ends_a_tls_backend(authority: Authority) -> None:
    """TLS has no half-close: the backend learns at once that its client is gone, not when patience is at its end."""
    async with (
        RecordingBackend(tls=authority.serving("127.0.0.1")) as backend,
        Guard("", _config(backend.url, f"{{caFile: {authority.file}}}")) as guard,
        connect(guard.port) as client,
    ):
        await client.open(wire.upgrade())
        conversation = await backend.conversation()
        client.half_close()
        await conversation.until_ended()
        assert (await guard.ended())["reason"] == "client-lost"


async def test_a_backend_on_a_unix_socket(tmp_path: Path) -> None:
    """For WebSockets and for the rest."""
    async with (
        RecordingBackend(answers.accept(echo=True), path=str(tmp_path / "app.sock")) as backend,
        Guard(backend) as guard,
        connect(guard.port) as client,
    ):
        await client.open(wire.upgrade())
        await client.send(wire.frame(wire.TEXT, b"by a path"))
        assert (await client.frame()).payload == b"by a path"
        head, body = await fetch(guard.port, "/page")
        assert (head.status, body) == (200, b"ok")
        assert backend.requests[-1].get("host") == "localhost"
