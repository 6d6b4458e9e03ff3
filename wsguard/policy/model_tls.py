"""TLS in a GuardConfig: the certificates of the public port, those of clients, and that of the backend."""

from __future__ import annotations

from typing import Annotated

from wsguard.policy.fields import File, Flag
from wsguard.policy.model_base import Model, read_as
from wsguard.protocol.authority import parse_host


class KeyPair(Model):
    """A certificate and its private key."""

    cert_file: File
    """The certificate as PEM, followed by those between it and the root."""
    key_file: File
    """Its private key as PEM, not encrypted."""


class ClientValidation(Model):
    """What clients must show of themselves in the TLS handshake."""

    ca_file: File
    """PEM certificates of those who may have signed a client's."""
    optional: Flag = False
    """Whether a client without a certificate is let in; one with a bad certificate never is."""


class ListenerTls(KeyPair):
    """TLS 1.2 or newer on the public port. Changed files hold for new connections, and end none."""

    certificates: tuple[KeyPair, ...] = ()
    """Further certificates: a client is shown the first that is for the name it asks for (SNI), else `certFile`."""
    client_validation: ClientValidation | None = None
    """Certificates of clients; absent: none is asked for."""

    @property
    def key_pairs(self) -> tuple[KeyPair, ...]:
        """Every certificate, the one that is shown by default first."""
        return (self, *self.certificates)


ServerName = Annotated[
    str, *read_as(str, lambda text: parse_host(text).strip("[]"), "a host such as app.internal", format="hostname")
]


class BackendTls(Model):
    """How the certificate of a backend is verified. It always is."""

    ca_file: File | None = None
    """PEM certificates to trust, in place of the system's."""
    server_name: ServerName | None = None
    """The name that the certificate must have, and that is asked for (SNI); absent: the host of `url`."""
