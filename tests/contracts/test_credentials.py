"""How a guard logs in to an engine: passwords and certificates from files, read again for each connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.contracts.engines import Engine, Nats, Redis
from tests.support.certificates import Authority
from wsguard.events.source import Stream, StreamAway


class LockedRedis(Redis):
    """Only TLS, only with a password, only clients with a certificate."""

    def command(self) -> list[str]:
        command = [word if word != "--port" else "--tls-port" for word in super().command()]
        files = {"--tls-cert-file": "own.crt", "--tls-key-file": "own.key", "--tls-ca-cert-file": "ca.pem"}
        for option, file in files.items():
            command += [option, str(self.folder / file)]
        return [*command, "--port", "0", "--requirepass", "right"]

    async def is_there(self) -> bool:
        await self.stream(**login(self)).read()
        return True


class LockedNats(Nats):
    """The same of NATS."""

    def command(self) -> list[str]:
        config = self.folder / "server.conf"
        config.write_text(
            f"""
            listen: "127.0.0.1:{self.port}"
            jetstream {{ store_dir: "{self.folder}/jetstream" }}
            authorization {{ user: default, password: right }}
            tls {{
              cert_file: "{self.folder}/own.crt", key_file: "{self.folder}/own.key"
              ca_file: "{self.folder}/ca.pem", verify: true
            }}
            """
        )
        return [*super().command()[:1], "-c", str(config)]

    async def is_there(self) -> bool:
        stream = self.stream(**login(self))
        try:
            await stream.read()
        except StreamAway:  # not yet: a port that refuses is said at once
            return False
        finally:
            await stream.close()
        return True


def login(engine: Engine) -> dict[str, Any]:
    """What a policy file says to be let in."""
    scheme = "rediss" if isinstance(engine, Redis) else "tls"
    folder = engine.folder
    return {
        "url": f"{scheme}://127.0.0.1:{engine.port}",
        "username": "default",
        "passwordFile": f"{folder}/password",
        "tls": {name: f"{folder}/{file}" for name, file in CERTIFICATES.items()},
    }


CERTIFICATES = {"caFile": "ca.pem", "certFile": "own.crt", "keyFile": "own.key"}


@pytest.fixture(params=[LockedRedis, LockedNats], ids=["redis", "nats"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    locked = request.param()
    Authority(locked.folder).server("127.0.0.1", file="own")
    (locked.folder / "password").write_text("right\n")
    async with locked:
        yield locked


async def refusal(stream: Stream) -> str:
    with pytest.raises(StreamAway) as caught:
        await stream.read()
    await stream.close()
    return str(caught.value)


async def test_a_password_and_certificates_open(engine: Engine) -> None:
    stream = engine.stream(**login(engine))
    await stream.append(b"1")
    assert [entry.document for entry in (await stream.read()).entries] == [b"1"]
    await stream.close()


async def test_a_wrong_password_is_said_and_not_shown_and_a_rotated_one_counts(engine: Engine) -> None:
    password = engine.folder / "password"
    password.write_text("wrong-and-secret")
    stream = engine.stream(**login(engine))
    with pytest.raises(StreamAway) as caught:
        await stream.read()
    assert str(caught.value)
    assert "secret" not in str(caught.value)
    password.write_text("right")
    await stream.read()
    await stream.close()


async def test_an_address_with_its_password_comes_from_a_file(engine: Engine) -> None:
    said = login(engine)
    scheme = str(said["url"]).partition(":")[0]
    file = engine.folder / "url"
    file.write_text(f"{scheme}://default:right@127.0.0.1:{engine.port}\n")
    stream = engine.stream(url=None, urlFile=str(file), tls=said["tls"])
    await stream.read()
    await stream.close()
    file.write_text(f"{scheme}://default:wrong-and-secret@127.0.0.1:{engine.port}\n")
    assert "secret" not in await refusal(engine.stream(url=None, urlFile=str(file), tls=said["tls"]))


async def test_a_server_that_nobody_vouches_for_is_not_talked_to(engine: Engine) -> None:
    assert await refusal(engine.stream(**{**login(engine), "tls": {}}))


async def test_tls_is_not_left_out(engine: Engine) -> None:
    assert await refusal(engine.stream(**{**login(engine), "url": engine.spec()["url"], "tls": {}}))
