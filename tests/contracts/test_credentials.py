"""How a guard logs in to an engine: passwords and certificates from files, read again for each connection."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.contracts.engines import Engine, Nats, Redis
from wsguard.events.source import Stream, StreamAway


def make_certificate(folder: Path) -> None:
    """A certificate for 127.0.0.1 that vouches for itself: `cert.pem` and `key.pem`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


class LockedRedis(Redis):
    """Only TLS, only with a password, only clients with a certificate."""

    def command(self) -> list[str]:
        command = [word if word != "--port" else "--tls-port" for word in super().command()]
        files = {"--tls-cert-file": "cert.pem", "--tls-key-file": "key.pem", "--tls-ca-cert-file": "cert.pem"}
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
              cert_file: "{self.folder}/cert.pem", key_file: "{self.folder}/key.pem"
              ca_file: "{self.folder}/cert.pem", verify: true
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


CERTIFICATES = {"caFile": "cert.pem", "certFile": "cert.pem", "keyFile": "key.pem"}


@pytest.fixture(params=[LockedRedis, LockedNats], ids=["redis", "nats"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    locked = request.param()
    make_certificate(locked.folder)
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
