"""TLS contexts from the bytes that were read, so that a certificate and its key are of one moment.

Law: a context never changes. Who makes a connection takes the one of the snapshot in force, and keeps it: that is how
certificates are reloaded, and how no session is resumed that a withdrawn authority has vouched for.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from wsguard.policy.certificates import hosts, is_for, read_certificate
from wsguard.policy.model_guard import Backend
from wsguard.policy.model_tls import ListenerTls

# Of TLS 1.2 what is left of it by RFC 9325 §4.2: forward secrecy, and encryption that authenticates. 1.3 has no other.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def listener_context(tls: ListenerTls, files: Mapping[str, bytes]) -> ssl.SSLContext:
    """What the public port speaks, by `files`, the contents by name. Raises ValueError."""
    first, *others = (
        _server_context(tls, files, files[pair.cert_file], files[pair.key_file]) for pair in tls.key_pairs
    )
    named = [
        (hosts(read_certificate(files[pair.cert_file])), context)
        for pair, context in zip(tls.key_pairs, (first, *others), strict=True)
    ]

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        """RFC 6066 §3: the certificate for the name that the client wants."""
        host = (name or "").lower().removesuffix(".")
        connection.context = next((context for patterns, context in named if is_for(patterns, host)), first)

    if others:
        first.sni_callback = choose
    return first


def backend_context(backend: Backend, files: Mapping[str, bytes]) -> ssl.SSLContext:
    """What the guard trusts of `backend`. Raises ValueError."""
    trusted = backend.tls.ca_file
    context = ssl.create_default_context(cadata=None if trusted is None else files[trusted].decode("ascii", "replace"))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def key_pair_context(certificates: bytes, key: bytes) -> ssl.SSLContext:
    """A server's context with `certificates`, PEM, its own first, and its `key`. Raises ValueError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    try:
        with _as_file(certificates + b"\n" + key) as path:
            context.load_cert_chain(path, password=lambda: "")  # else it would ask whoever sits at the terminal
    except ssl.SSLError as error:
        raise ValueError(f"the TLS library refuses it: {error.reason or 'unreadable'}") from None
    return context


def _server_context(tls: ListenerTls, files: Mapping[str, bytes], certificates: bytes, key: bytes) -> ssl.SSLContext:
    context = key_pair_context(certificates, key)
    wanted = tls.client_validation
    if wanted is not None:
        context.load_verify_locations(cadata=files[wanted.ca_file].decode("ascii", "replace"))
        context.verify_mode = ssl.CERT_OPTIONAL if wanted.optional else ssl.CERT_REQUIRED
        context.num_tickets = 0  # with a ticket a client would come back whose certificate nobody looks at again
        context.options |= ssl.OP_NO_TICKET
    return context


@contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """A path under which the TLS library finds `data`, which holds a key and so touches no disk where that can be."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("wsguard")
        try:
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(data)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            yield file.name
