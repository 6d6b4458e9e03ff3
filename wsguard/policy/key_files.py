"""Which files policies and the guard name, and what must be in each; floor 2 reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from wsguard.policy.model import (
    BackChannelLogout,
    GuardConfig,
    JwtProvider,
    NATSJetStream,
    RedisStream,
    SharedSignals,
    WebSocketPolicy,
)
from wsguard.policy.yaml_source import Node, Place


class Content(Enum):
    """What a named file holds."""

    KEYS = "keys"
    CERTIFICATES = "certificates"
    BEARER = "bearer token"
    ADDRESS = "address"
    SECRET = "secret"
    TLS_KEY = "private key"
    NATS_CREDENTIALS = "NATS credentials"
    TOKEN_KEYS = "key for handshake tokens"


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A file that is named at `place`, by `provider` where it holds a provider's keys."""

    file: str
    content: Content
    place: Place
    provider: JwtProvider | None = None


def key_files(document: WebSocketPolicy | GuardConfig, node: Node) -> Iterator[KeyFile]:
    """Every file that `document`, written as `node`, names."""
    if isinstance(document, GuardConfig):
        if document.spec.admin.token_file is not None:
            place = node.at(("spec", "admin", "tokenFile"))
            yield KeyFile(document.spec.admin.token_file, Content.BEARER, place)
        for i, source in enumerate(document.spec.session_events.sources):
            yield from _source_files(source, node, ("spec", "sessionEvents", "sources", i))
        return
    spec = document.spec
    if spec.origin.handshake_token is not None:
        place = node.at(("spec", "origin", "handshakeToken", "secretFile"))
        yield KeyFile(spec.origin.handshake_token.secret_file, Content.TOKEN_KEYS, place)
    for i, provider in enumerate(spec.jwt.providers if spec.jwt else ()):
        yield from _provider_files(provider, node, ("spec", "jwt", "providers", i))
    for i, asked in enumerate(spec.introspection.providers if spec.introspection else ()):
        path = ("spec", "introspection", "providers", i)
        yield KeyFile(asked.client_secret_file, Content.SECRET, node.at((*path, "clientSecretFile")))
        if asked.ca_file is not None:
            yield KeyFile(asked.ca_file, Content.CERTIFICATES, node.at((*path, "caFile")))
    if spec.forward_auth is not None and spec.forward_auth.ca_file is not None:
        place = node.at(("spec", "forwardAuth", "caFile"))
        yield KeyFile(spec.forward_auth.ca_file, Content.CERTIFICATES, place)


def _provider_files(provider: JwtProvider, node: Node, path: tuple[str | int, ...]) -> Iterator[KeyFile]:
    if provider.local_secret_file is not None:
        place = node.at((*path, "localSecretFile"))
        yield KeyFile(provider.local_secret_file, Content.KEYS, place, provider)
    if provider.local_jwks is not None:
        place = node.at((*path, "localJWKS", "file"))
        yield KeyFile(provider.local_jwks.file, Content.KEYS, place, provider)
    if provider.remote_jwks is not None and provider.remote_jwks.ca_file is not None:
        place = node.at((*path, "remoteJWKS", "caFile"))
        yield KeyFile(provider.remote_jwks.ca_file, Content.CERTIFICATES, place)


def _source_files(
    source: BackChannelLogout | SharedSignals | RedisStream | NATSJetStream, node: Node, path: tuple[str | int, ...]
) -> Iterator[KeyFile]:
    files: list[tuple[tuple[str, ...], str | None, Content]] = []
    if isinstance(source, (BackChannelLogout, SharedSignals)):
        yield from _provider_files(source.provider, node, path)
        if isinstance(source, SharedSignals):
            files.append((("authorizationFile",), source.authorization_file, Content.SECRET))
    else:
        files += [
            (("urlFile",), source.url_file, Content.ADDRESS),
            (("passwordFile",), source.password_file, Content.SECRET),
            (("tls", "caFile"), source.tls.ca_file, Content.CERTIFICATES),
            (("tls", "certFile"), source.tls.cert_file, Content.CERTIFICATES),
            (("tls", "keyFile"), source.tls.key_file, Content.TLS_KEY),
        ]
        if isinstance(source, NATSJetStream):
            files.append((("tokenFile",), source.token_file, Content.SECRET))
            files.append((("credentialsFile",), source.credentials_file, Content.NATS_CREDENTIALS))
    yield from (KeyFile(file, content, node.at((*path, *names))) for names, file, content in files if file is not None)
