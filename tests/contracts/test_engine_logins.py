"""How a guard logs in to an engine, on real servers: by what is in files, and over TLS."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.nats_accounts import operator_mode
from tests.support.certificates import Authority
from tests.support.ports import free_port, listening
from tests.support.programs import Program, need
from tests.support.waiting import eventually
from wsguard.events.assemble import open_channel, open_streams
from wsguard.events.source import Stream, StreamAway
from wsguard.policy.model import SessionEvents

OPERATING = (Path(__file__).parents[2] / "docs/operating.md").read_text("utf-8")
SUBJECTS = ["wsguard.events", "wsguard-counts.wsguard.events", "$JS.API.>", "_INBOX.>"]
SECRET = "correct horse battery staple"


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def stream_of(folder: Path, source: Mapping[str, Any]) -> Stream:
    """The stream as a guard opens it; files are named by what they are called in `folder`."""

    spec = SessionEvents.model_validate({"sources": [source], "replayWindow": 1000.0})
    (stream,) = open_streams(spec, lambda: files_of(folder), 0.0)
    return stream


async def carries(folder: Path, source: Mapping[str, Any]) -> None:
    """What is said beside the stream is heard."""
    channel = open_channel(SessionEvents.model_validate({"sources": [source]}), lambda: files_of(folder))
    assert channel is not None
    await channel.open()
    await channel.say(b"1")
    assert await channel.hear() == b"1"
    await channel.close()


async def works(stream: Stream) -> None:
    """It stores an event and reads it."""
    try:

        async def is_stored() -> bool:
            try:
                await stream.read()
                await stream.append(b"1")
            except StreamAway:  # JetStream is a little later than its port
                return False
            return True

        await eventually(is_stored)
        async with asyncio.timeout(10):
            while not (await stream.read()).entries:
                pass
    finally:
        await stream.close()


async def refused(stream: Stream) -> str:
    """It does not get in; why, which holds no secret."""
    with pytest.raises(StreamAway) as caught:
        await stream.read()
    await stream.close()
    assert SECRET not in str(caught.value)
    return str(caught.value)


@asynccontextmanager
async def redis(*options: str) -> AsyncIterator[int]:
    port = free_port()
    words = [word.replace("PORT", str(port)) for word in options]
    async with Program(need("redis-server"), "--bind", "127.0.0.1", "--save", "", "--port", "0", *words):
        await listening(port)
        yield port


@asynccontextmanager
async def nats(folder: Path, config: str) -> AsyncIterator[int]:
    port = free_port()
    place = {"listen": f"127.0.0.1:{port}", "jetstream": {"store_dir": str(folder / "jetstream")}}
    (folder / "nats.conf").write_text(f"{json.dumps(place)[1:-1]}\n{config}\n")
    async with Program(need("nats-server"), "-c", folder / "nats.conf") as server:
        await listening(port)
        yield port
        assert server.process.returncode is None


def certified(folder: Path) -> tuple[str, str, str]:
    """The files of an authority, of a certificate for both ends, and of its key; none is in the folder of the guard."""
    (elsewhere := folder / "certificates").mkdir()
    authority = Authority(elsewhere)
    return str(authority.file), *authority.server("127.0.0.1")


async def test_redis_knows_a_user_with_the_rights_that_the_docs_name(tmp_path: Path) -> None:
    rights = re.search(r"`(~wsguard:events [^`]+)`", OPERATING)
    counting = re.search(r"`(&wsguard:events:counts[^`]+)`", OPERATING)
    assert rights is not None
    assert counting is not None
    (tmp_path / "users.acl").write_text(f"user default off\nuser guard on >secret {rights[1]} {counting[1]}\n")
    source = {"type": "RedisStream", "username": "guard", "passwordFile": "password"}
    async with redis("--port", "PORT", "--aclfile", str(tmp_path / "users.acl")) as port:
        source["url"] = f"redis://127.0.0.1:{port}/0"
        (tmp_path / "password").write_text(SECRET)
        stream = stream_of(tmp_path, source)
        await refused(stream)
        (tmp_path / "password").write_text("secret\n")  # read anew at each connection
        await works(stream)
        await carries(tmp_path, source)
        (tmp_path / "url").write_text(f"redis://guard:secret@127.0.0.1:{port}/0\n")
        await works(stream_of(tmp_path, {"type": "RedisStream", "urlFile": "url"}))


async def test_redis_over_tls_is_trusted_by_the_file_of_its_authority(tmp_path: Path) -> None:
    ca, cert, key = certified(tmp_path)
    tls = ["--tls-port", "PORT", "--tls-cert-file", cert, "--tls-key-file", key]
    async with redis(*tls, "--tls-ca-cert-file", ca, "--tls-auth-clients", "yes") as port:
        source = {"type": "RedisStream", "url": f"rediss://127.0.0.1:{port}/0"}
        own = {"caFile": ca, "certFile": cert, "keyFile": key}
        await works(stream_of(tmp_path, {**source, "tls": own}))
        await refused(stream_of(tmp_path, {**source, "tls": {"caFile": ca}}))
        assert "CERTIFICATE_VERIFY_FAILED" in await refused(stream_of(tmp_path, source))


async def test_nats_knows_a_user_with_the_rights_that_the_docs_name(tmp_path: Path) -> None:
    assert all(f"`{subject}`" in OPERATING for subject in SUBJECTS)
    rights = json.dumps({"publish": SUBJECTS, "subscribe": SUBJECTS})
    config = f"authorization {{ users: [{{ user: guard, password: secret, permissions: {rights} }}] }}"
    source = {"type": "NATSJetStream", "username": "guard", "passwordFile": "password"}
    async with nats(tmp_path, config) as port:
        source["url"] = f"nats://127.0.0.1:{port}"
        (tmp_path / "password").write_text(SECRET)
        stream = stream_of(tmp_path, source)
        await refused(stream)
        (tmp_path / "password").write_text("secret\n")
        await works(stream)
        await carries(tmp_path, source)


async def test_nats_knows_a_token(tmp_path: Path) -> None:
    async with nats(tmp_path, 'authorization { token: "secret" }') as port:
        source = {"type": "NATSJetStream", "url": f"nats://127.0.0.1:{port}"}
        await refused(stream_of(tmp_path, source))
        (tmp_path / "token").write_text("secret\n")
        await works(stream_of(tmp_path, {**source, "tokenFile": "token"}))


async def test_nats_knows_a_user_by_the_credentials_that_its_account_signed(tmp_path: Path) -> None:
    config, credentials = operator_mode()
    async with nats(tmp_path, config) as port:
        source = {"type": "NATSJetStream", "url": f"nats://127.0.0.1:{port}", "credentialsFile": "guard.creds"}
        (tmp_path / "guard.creds").write_text(operator_mode()[1])
        stream = stream_of(tmp_path, source)
        await refused(stream)
        (tmp_path / "guard.creds").write_text(credentials)
        await works(stream)


async def test_nats_over_tls_is_trusted_by_the_file_of_its_authority(tmp_path: Path) -> None:
    ca, cert, key = certified(tmp_path)
    tls = json.dumps({"cert_file": cert, "key_file": key, "ca_file": ca, "verify": True})
    async with nats(tmp_path, f"tls {tls}") as port:
        source = {"type": "NATSJetStream", "url": f"tls://127.0.0.1:{port}"}
        await works(stream_of(tmp_path, {**source, "tls": {"caFile": ca, "certFile": cert, "keyFile": key}}))
        await refused(stream_of(tmp_path, {**source, "tls": {"caFile": ca}}))
        await refused(stream_of(tmp_path, source))
        await refused(stream_of(tmp_path, {**source, "url": f"nats://127.0.0.1:{port}"}))
