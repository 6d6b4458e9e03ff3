"""The guard speaks TLS itself: certificates that change, several of them, those of clients, and who misbehaves."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from cryptography import x509

from tests.scenarios.measures import resident
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.certificates import Authority
from tests.support.client import RawClient, connect
from tests.support.guard import Guard
from tests.support.waiting import eventually
from tests.support.wire import Head

CLIENTS = 50
PER_CLIENT = 2**20
"""Bytes that a connection may take whose TLS client reads nothing: each buffer is there twice, plain and encrypted."""

HOSTS = "allowedHosts: [localhost, b.example.test]"


def config(tls: str, spec: str = "{}", listener: str = HOSTS) -> str:
    """A GuardConfig with that under `listener.tls`, and a policy."""
    return f"""
        apiVersion: wsguard.dev/v1
        kind: GuardConfig
        spec:
          listener: {{{listener}, tls: {{{tls}}}}}
        ---
        apiVersion: wsguard.dev/v1
        kind: WebSocketPolicy
        metadata: {{name: all}}
        spec: {spec}
    """


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """It signs what servers show."""
    return Authority(tmp_path)


@pytest.fixture
def own(authority: Authority) -> str:
    """The guard's own certificate, as a GuardConfig names it."""
    certificate, key = authority.server("localhost")
    return f"certFile: {certificate}, keyFile: {key}"


@pytest.fixture
def backend(backend: RecordingBackend) -> RecordingBackend:
    """Here it echoes."""
    backend.answer = answers.accept(echo=True)
    return backend


def _shown(client: RawClient) -> str:
    """The serial number of the certificate that the guard has shown."""
    return str(client.writer.get_extra_info("peercert")["serialNumber"])


async def _says(client: RawClient, text: bytes) -> bytes:
    await client.send(wire.frame(wire.TEXT, text))
    return (await client.frame()).payload


async def test_a_renewed_certificate_ends_no_connection(
    backend: RecordingBackend, authority: Authority, own: str
) -> None:
    """New handshakes are shown the new one; what is open stays, and is told of in plain words."""
    trust = authority.trusting()
    async with Guard(backend, config(own)) as guard, connect(guard.port, tls=trust) as before:
        await before.open(wire.upgrade(origin="https://localhost"))
        assert (await backend.conversation()).requests[0].get("x-forwarded-proto") == "https"
        authority.server("localhost")
        await guard.log({"event": "policies_loaded"}, count=2)
        async with connect(guard.port, tls=trust) as after:
            assert _shown(after) != _shown(before)
            await after.open(wire.upgrade(origin="https://localhost"))
        assert await _says(before, b"still here") == b"still here"


async def test_a_broken_renewal_keeps_the_old_certificate(
    backend: RecordingBackend, authority: Authority, own: str, tmp_path: Path
) -> None:
    """A certificate without its key is no certificate: the reload is refused as a whole."""
    async with Guard(backend, config(own)) as guard:
        shutil.copy(authority.server("elsewhere")[1], tmp_path / "localhost.key")
        line = await guard.log({"event": "reload_refused"})
        assert "it is not the key of the certificate" in line["error"]
        async with connect(guard.port, tls=authority.trusting()) as client:
            await client.open(wire.upgrade(origin="https://localhost"))


async def test_a_page_must_come_over_tls_as_well(backend: RecordingBackend, authority: Authority, own: str) -> None:
    """SameHost is of https: an http page could have been written by anyone on the way."""
    async with Guard(backend, config(own)) as guard, connect(guard.port, tls=authority.trusting()) as client:
        await client.open(wire.upgrade(origin="http://localhost"))
        assert await client.close_frame() == (4403, "origin-denied")
        assert (await guard.decided())["scheme"] == "https"


async def test_only_new_protocols(backend: RecordingBackend, authority: Authority, own: str) -> None:
    """TLS 1.2 and 1.3, and HTTP/1.1 as what is spoken in them."""
    async with Guard(backend, config(own)) as guard:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            trust = authority.trusting()
            trust.minimum_version = trust.maximum_version = version
            trust.set_alpn_protocols(["h2", "http/1.1"])
            async with connect(guard.port, tls=trust) as client:
                assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
                await client.open(wire.upgrade(origin="https://localhost"))
        old = authority.trusting()
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            async with connect(guard.port, tls=old):
                pass
        assert (await guard.log({"event": "request_turned_away"}))["detail"].startswith("no TLS: ")


async def test_the_certificate_follows_the_name(backend: RecordingBackend, authority: Authority, own: str) -> None:
    """SNI: by what the certificates are for; who asks for another name, or for none, is shown the first."""
    certificate, key = authority.issue("b", x509.DNSName("*.example.test"))
    other = f"certificates: [{{certFile: {certificate}, keyFile: {key}}}]"
    async with Guard(backend, config(f"{own}, {other}")) as guard:
        for name in ("localhost", "b.example.test"):
            async with connect(guard.port, tls=authority.trusting(), name=name) as client:  # it checks the name
                await client.open(wire.upgrade(host=name, origin=f"https://{name}"))
        with pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for 'else\.test'"):
            async with connect(guard.port, tls=authority.trusting(), name="else.test"):
                pass


async def test_who_does_not_speak_tls_waits_for_nothing(
    backend: RecordingBackend, authority: Authority, own: str
) -> None:
    """Silence ends with `handshakeTimeout`, plain HTTP at once; nobody else notices."""
    async with Guard(backend, config(own, listener=f"{HOSTS}, handshakeTimeout: 500ms")) as guard:
        async with connect(guard.port) as silent:
            with suppress(ConnectionResetError):
                assert await silent.rest() == b""
        assert (await guard.log({"event": "request_turned_away"}))["detail"] == "handshake-timeout"
        async with connect(guard.port) as plain:
            await plain.send(wire.upgrade())
            with suppress(ConnectionResetError):
                assert not (await plain.rest()).startswith(b"HTTP")
        async with connect(guard.port, tls=authority.trusting()) as client:
            await client.open(wire.upgrade(origin="https://localhost"))


# Certificates of clients.


@pytest.fixture
def people(tmp_path: Path) -> Authority:
    """It signs what clients show."""
    return Authority(tmp_path, "people")


CEL = "client_cert.subject == 'CN=Zoë' && 'email:zoe@example.test' in client_cert.sans"
RULES = f'{{origin: {{missing: Allow}}, authorization: {{rules: [{{action: Allow, cel: "{CEL}"}}]}}}}'


async def test_a_client_certificate_is_known_to_rules_and_backend(
    backend: RecordingBackend, authority: Authority, people: Authority, own: str
) -> None:
    """Its subject and names are variables of rules and header fields, which no client can send itself."""
    zoe = people.issue("zoe", x509.RFC822Name("zoe@example.test"), x509.DNSName("z,1"), subject="Zoë")
    ann = people.issue("ann")
    tls = f"{own}, clientValidation: {{caFile: {people.file}}}"
    forged = [("X-Wsguard-Client-Cert-Subject", "CN=root"), ("X_Wsguard_Client_Cert_SAN", "DNS:root")]
    async with Guard(backend, config(tls, RULES)) as guard:
        async with connect(guard.port, tls=authority.trusting(zoe)) as client:
            await client.open(wire.upgrade(fields=forged))
            assert await _says(client, b"let in") == b"let in"
            head = (await backend.conversation()).requests[0]
            assert head.all("X-Wsguard-Client-Cert-Subject") == ["CN=Zo%C3%AB"]
            assert head.all("X-Wsguard-Client-Cert-SAN") == ["email:zoe@example.test,DNS:z%2C1"]
            assert "root" not in head.raw.decode()
        async with connect(guard.port, tls=authority.trusting(zoe)) as client:  # the same for plain requests
            await client.send(wire.request("GET", "/page", [("Host", "localhost"), *forged]))
            assert (await client.head()).status == 200
            assert backend.requests[-1].all("X-Wsguard-Client-Cert-Subject") == ["CN=Zo%C3%AB"]
        async with connect(guard.port, tls=authority.trusting(ann)) as client:
            await client.open(wire.upgrade())
            assert await client.close_frame() == (4403, "not-authorized")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_without_a_good_certificate(
    backend: RecordingBackend, authority: Authority, people: Authority, own: str, version: ssl.TLSVersion
) -> None:
    """None, or one that a stranger has signed, gets no answer in HTTP at all; the log says why."""
    stranger = Authority(authority.folder, "stranger").issue("mallory")
    async with Guard(backend, config(f"{own}, clientValidation: {{caFile: {people.file}}}")) as guard:
        for certificate in (None, stranger):
            trust = authority.trusting(certificate)
            trust.minimum_version = trust.maximum_version = version
            with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                async with connect(guard.port, tls=trust) as client:  # TLS 1.3 tells it only now
                    await client.open(wire.upgrade())
        assert "DID_NOT_RETURN" in (await guard.log({"event": "request_turned_away"}))["detail"]
        assert "VERIFY_FAILED" in (await guard.log({"event": "request_turned_away"}, count=2))["detail"]
        assert not backend.requests


async def test_every_name_asks_for_a_certificate(
    backend: RecordingBackend, authority: Authority, people: Authority, own: str
) -> None:
    """The name that is asked for chooses what the guard shows, and nothing of what it wants to see."""
    certificate, key = authority.server("b.example.test")
    further = f"certificates: [{{certFile: {certificate}, keyFile: {key}}}]"
    tls = f"{own}, {further}, clientValidation: {{caFile: {people.file}}}"
    ann = authority.trusting(people.issue("ann"))
    hello = wire.upgrade(host="b.example.test", origin="https://b.example.test")
    async with Guard(backend, config(tls)) as guard:
        async with connect(guard.port, tls=ann, name="b.example.test") as client:
            await client.open(hello)
            assert await _says(client, b"let in") == b"let in"
            assert backend.requests[-1].get("X-Wsguard-Client-Cert-Subject") == "CN=ann"
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            async with connect(guard.port, tls=authority.trusting(), name="b.example.test") as client:
                await client.open(hello)


async def test_an_optional_certificate_is_sent_by_itself(
    backend: RecordingBackend, authority: Authority, people: Authority, own: str
) -> None:
    """So a handshake with one and without an Origin is refused as one with a cookie is; one without is let in."""
    tls = f"{own}, clientValidation: {{caFile: {people.file}, optional: true}}"
    async with Guard(backend, config(tls)) as guard:
        async with connect(guard.port, tls=authority.trusting(people.issue("ann"))) as client:
            await client.open(wire.upgrade())
            assert await client.close_frame() == (4403, "origin-denied")
        async with connect(guard.port, tls=authority.trusting()) as client:
            await client.open(wire.upgrade())
            assert await _says(client, b"let in") == b"let in"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_withdrawn_authority_vouches_for_nobody_new(
    backend: RecordingBackend, authority: Authority, people: Authority, own: str, version: ssl.TLSVersion
) -> None:
    """Not for one who resumes a TLS session from before, either."""
    trust = authority.trusting(people.issue("ann"))
    trust.minimum_version = trust.maximum_version = version
    async with Guard(backend, config(f"{own}, clientValidation: {{caFile: {people.file}}}")) as guard:
        async with connect(guard.port, tls=trust) as client:
            await client.open(wire.upgrade(origin="https://localhost"))
            session = client.writer.get_extra_info("ssl_object").session
        people.file.write_bytes(Authority(people.folder, "others").pem)
        await guard.log({"event": "policies_loaded"}, count=2)
        answer = b""
        with suppress(ssl.SSLError, ConnectionError):
            answer = await asyncio.to_thread(_resume, guard.port, trust, session)
        assert answer == b""
        await guard.log({"event": "request_turned_away"})


def _resume(port: int, trust: ssl.SSLContext, session: ssl.SSLSession) -> bytes:
    """What a client reads that brings an earlier session along."""
    with (
        socket.create_connection(("127.0.0.1", port), 5.0) as raw,
        trust.wrap_socket(raw, server_hostname="localhost", session=session) as wrapped,
    ):
        wrapped.sendall(wire.upgrade(origin="https://localhost"))
        return wrapped.recv(1000)


# Who does not read.


async def test_stalled_tls_clients_are_cut_and_freed(backend: RecordingBackend, authority: Authority, own: str) -> None:
    """A flood backs up to the backend, at a bounded cost; a cut ends each within its grace and leaves nothing."""
    sent: list[int] = []

    async def flood(conversation: answers.Conversation, head: Head) -> None:
        conversation.writer.transport.set_write_buffer_limits(high=0)
        await conversation.send(answers.switching(head))
        number = len(sent)
        sent.append(0)
        for _ in range(200):
            await conversation.send(wire.frame(wire.BINARY, b"x" * 65_000, masked=False))
            sent[number] += 65_000

    backend.answer = flood
    trust = authority.trusting()
    async with (
        Guard(backend, config(own, "{rejection: {closeTimeout: 500ms}}")) as guard,
        AsyncExitStack() as stack,
    ):
        empty = resident(guard)
        for _ in range(CLIENTS):
            client = await stack.enter_async_context(connect(guard.port, tls=trust, receive_buffer=4096))
            await client.send(wire.upgrade(origin="https://localhost"))
        before = -1
        while sum(sent) != before:
            before = sum(sent)
            await asyncio.sleep(1.0)
        full = resident(guard)
        assert full - empty < CLIENTS * PER_CLIENT
        await asyncio.sleep(1.0)
        assert resident(guard) - full < 2**20
        for connection in await guard.connections():
            await guard.ask("DELETE", f"/v1/connections/{connection['id']}")
        await guard.log({"event": "connection_closed", "reason": "terminated"}, count=CLIENTS)
        await eventually(guard.is_idle, what="nothing is left of them")


async def test_a_client_that_reads_late_gets_its_close(
    backend: RecordingBackend, authority: Authority, own: str
) -> None:
    """Everything that was on its way, then the Close at a frame boundary."""
    count = 40

    async def pour(conversation: answers.Conversation, head: Head) -> None:
        await conversation.send(answers.switching(head))
        for _ in range(count):
            await conversation.send(wire.frame(wire.BINARY, b"x" * 65_000, masked=False))
        await conversation.send(wire.close_frame(1000, masked=False))
        while await conversation.receive():
            pass

    backend.answer = pour
    async with Guard(backend, config(own)) as guard:
        late = connect(guard.port, tls=authority.trusting(), receive_buffer=4096)
        async with late as client:
            await client.open(wire.upgrade(origin="https://localhost"))
            await asyncio.sleep(0.5)
            for _ in range(count):
                assert len((await client.frame()).payload) == 65_000
            assert await client.close_frame() == (1000, "")
            assert (await guard.ended())["reason"] == "backend-closed"


async def test_a_violation_is_told_over_tls(backend: RecordingBackend, authority: Authority, own: str) -> None:
    """The client goes on sending garbage, and reads its Close all the same."""
    async with Guard(backend, config(own)) as guard, connect(guard.port, tls=authority.trusting()) as client:
        await client.open(wire.upgrade(origin="https://localhost"))
        await client.send(wire.frame(wire.TEXT, b"bare", masked=False))
        with suppress(ConnectionError):
            for _ in range(50):
                await client.send(b"\xff" * 1000)
        frame = await client.frame()
        assert frame.close[0] == 1002
        assert (await guard.ended())["reason"] == "protocol-error"


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_a_tls_client_that_vanishes(backend: RecordingBackend, authority: Authority, own: str, how: str) -> None:
    """The backend hears of it at once."""
    async with Guard(backend, config(own)) as guard, connect(guard.port, tls=authority.trusting()) as client:
        await client.open(wire.upgrade(origin="https://localhost"))
        conversation = await backend.conversation()
        if how == "reset":
            client.reset()
        else:
            client.writer.close()
        await conversation.until_ended()
        assert (await guard.ended())["reason"] == "client-lost"


async def test_limits_on_what_flows_hold_over_tls(backend: RecordingBackend, authority: Authority, own: str) -> None:
    """A client that is held back loses nothing, its own end included; one that never reads is gone soon."""
    messages = "{perConnection: {requests: 400, unit: Second, burst: 10}, onExceed: Throttle}"
    limits = f"{{messages: {messages}, slowConsumer: {{maxPause: 500ms}}}}"
    spec = f"{{rejection: {{closeTimeout: 500ms}}, limits: {limits}}}"
    trust = authority.trusting()
    frames = [wire.frame(wire.TEXT, f"{number}".encode()) for number in range(100)]
    async with Guard(backend, config(own, spec)) as guard:
        async with connect(guard.port, tls=trust) as client:
            await client.open(wire.upgrade(origin="https://localhost"))
            await client.send(b"".join(frames) + wire.close_frame(1000))
            assert [int((await client.frame()).payload) for _ in frames] == list(range(100))
            assert (await client.frame()).close == (1000, "")
        assert (await guard.ended())["reason"] == "client-closed"
        backend.answer = answers.accept()
        async with connect(guard.port, tls=trust, receive_buffer=4096) as client:
            await client.open(wire.upgrade(origin="https://localhost"))
            conversation = await backend.conversation()
            with suppress(ConnectionError):
                await conversation.send(wire.frame(wire.BINARY, b"x" * 65_000, masked=False) * 150)
            line = await guard.ended(reason="slow-consumer")
            assert (line["code"], line["delivery"]) == (1013, "undelivered")
            assert line["duration"] < 10.0


async def test_a_slow_backend_reads_to_the_end_what_a_tls_client_said(
    backend: RecordingBackend, authority: Authority, own: str
) -> None:
    """TLS has no half-close: a client that closes behind its Close is lost, and its backend has time all the same."""
    backend.answer = answers.accept()
    said = wire.frame(wire.BINARY, bytes(20_000)) * 60 + wire.close_frame(1000)
    async with Guard(backend, config(own, "{rejection: {closeTimeout: 200ms}}")) as guard:
        async with connect(guard.port, tls=authority.trusting()) as client:
            await client.open(wire.upgrade())
            far = await backend.conversation()
            far.stop_reading()
            await client.send(said)
        await asyncio.sleep(1.0)
        far.resume_reading()
        await eventually(lambda: len(far.tail) == len(said), what="all that the client said")
        far.close()
        line = await guard.ended()
        assert (line["reason"], line["code"]) == ("client-closed", 1000)
