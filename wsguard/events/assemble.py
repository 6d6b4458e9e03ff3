"""From the policy file's `sources` to streams: addresses, credentials from files, TLS."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wsguard.events.channel import Channel
from wsguard.events.source import Stream
from wsguard.policy.model import NATSJetStream, RedisStream, SessionEvents
from wsguard.policy.nats_credentials import read_nats_credentials

Files = Callable[[], Mapping[str, bytes]]
"""The contents of the files that the policies name, as they are now."""

_KEPT = 2
"""Replay windows for which a stream keeps its entries: whoever reads back finds a whole one."""


class MissingExtra(Exception):
    """The library for a source is not installed; the message says how to get it."""


def open_streams(spec: SessionEvents, files: Files, now: float) -> list[Stream]:
    """A stream for each source that replicas share, to be read from `now` less `replayWindow` on.

    Nothing is connected yet. Raises MissingExtra, as `require_extras` does.
    """
    require_extras(spec)
    since, keep = now - spec.replay_window, spec.replay_window * _KEPT
    return [_open(source, files, since, keep) for source in spec.streams]


def open_channel(spec: SessionEvents, files: Files) -> Channel | None:
    """What replicas say to one another beside the first of their streams; None: they share none.

    Nothing is connected yet. Raises MissingExtra, as `require_extras` does.
    """
    require_extras(spec)
    if not spec.streams:
        return None
    source = spec.streams[0]
    if isinstance(source, RedisStream):
        from wsguard.events import redis_channel  # noqa: PLC0415 - as in _open

        return redis_channel.RedisChannel(partial(redis_options, source, files), source.key)
    from wsguard.events import nats_channel  # noqa: PLC0415

    return nats_channel.NatsChannel(partial(nats_options, source, files), source.subject)


def require_extras(spec: SessionEvents) -> None:
    """Raises MissingExtra where the library of a stream is not installed."""
    for source in spec.streams:
        extra = "redis" if isinstance(source, RedisStream) else "nats"
        if find_spec(extra) is None:
            raise MissingExtra(f"{source.type} needs an extra: pip install 'wsguard[{extra}]'")


def _open(source: RedisStream | NATSJetStream, files: Files, since: float, keep: float) -> Stream:
    # The libraries are extras: who uses neither stream installs neither.
    if isinstance(source, RedisStream):
        from wsguard.events import redis_stream  # noqa: PLC0415

        return redis_stream.RedisStream(partial(redis_options, source, files), source.key, since, keep)
    from wsguard.events import nats_stream  # noqa: PLC0415

    return nats_stream.NatsStream(partial(nats_options, source, files), source.stream, source.subject, since, keep)


def redis_options(source: RedisStream, files: Files) -> tuple[str, Mapping[str, Any]]:
    """The address and the options of a Redis client, as the files are now."""
    url, options = _address(source, files), _login(source, files, "username")
    if url.startswith("rediss:"):
        options |= {
            "ssl_ca_certs": source.tls.ca_file,
            "ssl_certfile": source.tls.cert_file,
            "ssl_keyfile": source.tls.key_file,
        }
    return url, options


def nats_options(source: NATSJetStream, files: Files) -> tuple[str, Mapping[str, Any]]:
    """The address and the options of a NATS client, as the files are now. Raises OSError for bad certificates."""
    url, options = _address(source, files), _login(source, files, "user")
    if source.token_file is not None:
        options["token"] = _line(files()[source.token_file])
    if source.credentials_file is not None:
        options |= _credentials(files()[source.credentials_file])
    if url.startswith("tls:"):
        context = ssl.create_default_context(cafile=source.tls.ca_file)
        if source.tls.cert_file is not None:
            context.load_cert_chain(source.tls.cert_file, source.tls.key_file)
        options["tls"] = context
    return url, options


def _address(source: RedisStream | NATSJetStream, files: Files) -> str:
    return source.url if source.url is not None else _line(files()[source.url_file or ""])


def _login(source: RedisStream | NATSJetStream, files: Files, user: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if source.username is not None:
        options[user] = source.username
    if source.password_file is not None:
        options["password"] = _line(files()[source.password_file])
    return options


def _credentials(content: bytes) -> dict[str, Any]:
    """NATS' own: the JWT is shown, and the key that goes with it signs what the server asks."""
    credentials = read_nats_credentials(content)
    key = Ed25519PrivateKey.from_private_bytes(credentials.key)
    return {
        "user_jwt_cb": lambda: bytearray(credentials.token.encode()),
        "signature_cb": lambda nonce: base64.b64encode(key.sign(nonce.encode())),
    }


def _line(content: bytes) -> str:
    """The one line of a file, without the line end that editors leave."""
    return content.decode("utf-8", "surrogateescape").strip("\r\n")
