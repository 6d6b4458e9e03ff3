"""The `sessionEvents` part of a GuardConfig: from where the guard hears that a session has ended."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator, model_validator

from wsguard.policy.fields import Count, File, PositiveDuration, Text, duration
from wsguard.policy.model_base import Model, one_of, read_as, shorten
from wsguard.policy.model_pushed import BackChannelLogout, SharedSignals


class OnGap(Enum):
    """What a lost part of the stream means."""

    CONTINUE = "Continue"
    CLOSE_ALL = "CloseAll"


class OnOutage(Enum):
    """What a stream that is away means for new handshakes."""

    CONTINUE = "Continue"
    REFUSE_NEW = "RefuseNew"


class OnFull(Enum):
    """What a full deny-list means for new handshakes."""

    REFUSE_NEW = "RefuseNew"


def parse_stream_url(text: str, *schemes: str) -> str:
    """`text` where it is an address of one of `schemes` without credentials. Raises ValueError, quoting no secret."""
    example = f"{schemes[0]}://127.0.0.1"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(f"expected an address such as {example}") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address in a policy file has no user and no password: see urlFile and passwordFile")
    if parts.scheme not in schemes or not parts.hostname or port == 0 or re.search(r"[\s\x00-\x20\x7f]", text):
        raise ValueError(f'expected an address such as {example}, found "{shorten(text)}"')
    return text


def _address(*schemes: str) -> Callable[[str], str]:
    return lambda text: parse_stream_url(text, *schemes)


REDIS_SCHEMES = ("redis", "rediss")
NATS_SCHEMES = ("nats", "tls")


def is_encrypted(url: str) -> bool:
    """Whether the address of a stream asks for TLS."""
    return urlsplit(url).scheme in (REDIS_SCHEMES[1], NATS_SCHEMES[1])


RedisUrl = Annotated[str, *read_as(str, _address(*REDIS_SCHEMES), "redis://127.0.0.1:6379/0", format="uri")]
NatsUrl = Annotated[str, *read_as(str, _address(*NATS_SCHEMES), "nats://127.0.0.1:4222", format="uri")]


class StreamTls(Model):
    """Certificates for a connection to a stream; TLS itself is asked for by the address (`rediss://`, `tls://`)."""

    ca_file: File | None = None
    """PEM certificates to trust, in place of the system's."""
    cert_file: File | None = None
    """The guard's own certificate, where the server asks for one."""
    key_file: File | None = Field(default=None, validate_default=True)
    """The private key of `certFile`."""

    @field_validator("key_file")
    @classmethod
    def _both(cls, value: str | None, info: ValidationInfo) -> str | None:
        if (info.data.get("cert_file", value) is None) is not (value is None):
            raise ValueError("certFile and keyFile go together")
        return value


class _Stream(Model):
    """A stream that every replica reads and writes."""

    url: str | None = None
    """Where the server listens."""
    url_file: File | None = None
    """A file with the address, where that holds a password; in place of `url`."""
    username: Text | None = None
    """Whom the guard logs in as; absent: the server's default user, or whom the address names."""
    password_file: File | None = None
    """The file of the password."""
    tls: StreamTls = StreamTls()
    """Certificates, where the address asks for TLS."""

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if (self.url is None) is (self.url_file is None):
            raise ValueError("expected exactly one of url and urlFile")
        if self.url is not None and not is_encrypted(self.url) and self.tls != StreamTls():
            raise ValueError(f"tls is for {REDIS_SCHEMES[1]}:// and {NATS_SCHEMES[1]}:// addresses")
        return self


class RedisStream(_Stream):
    """A stream in Redis 7 or newer. Each entry has one field, `event`."""

    model_config = one_of("url", "urlFile")

    type: Literal["RedisStream"]
    """Redis Streams."""
    url: RedisUrl | None = None
    """Where Redis listens: redis://HOST:PORT/DATABASE, or rediss:// for TLS."""
    key: Text = "wsguard:events"
    """The stream's key."""


_SUBJECT = re.compile(r"[!-)+-=?-~]+")  # printable, without the wildcards * and >


def _subject(text: str) -> str:
    if not _SUBJECT.fullmatch(text) or "" in text.split("."):
        raise ValueError(f'expected a NATS subject such as wsguard.events, found "{shorten(text)}"')
    return text


def _stream_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", text):
        raise ValueError(f'expected the name of a JetStream stream such as WSGUARD, found "{shorten(text)}"')
    return text


class NATSJetStream(_Stream):
    """A JetStream stream in NATS 2.9 or newer; made, with file storage, where there is none of its name."""

    model_config = one_of("url", "urlFile")

    type: Literal["NATSJetStream"]
    """NATS JetStream."""
    url: NatsUrl | None = None
    """Where NATS listens: nats://HOST:PORT, or tls:// for TLS."""
    token_file: File | None = None
    """The file of a token, where the server asks for one in place of a user."""
    credentials_file: File | None = Field(default=None, validate_default=True)
    """The file of a user's own credentials, a JWT and its nkey, as `nsc` writes them (`.creds`)."""
    stream: Annotated[str, *read_as(str, _stream_name, "the name of a JetStream stream")] = "WSGUARD"
    """The stream's name."""
    subject: Annotated[str, *read_as(str, _subject, "a NATS subject such as wsguard.events")] = "wsguard.events"
    """What events are published under; the stream must store it, and nothing else."""

    @field_validator("credentials_file")
    @classmethod
    def _one_login(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and any(info.data.get(name) for name in ("username", "password_file", "token_file")):
            raise ValueError("credentialsFile goes with no username, passwordFile or tokenFile")
        return value


Source = Annotated[
    BackChannelLogout | SharedSignals | RedisStream | NATSJetStream,
    Field(discriminator="type"),
]


class DenyListSpec(Model):
    """What has been logged out is remembered for as long as its tokens could come back."""

    max_entries: Count = Field(default=100_000, ge=1)
    """How many log-outs are remembered. None that still holds is ever forgotten for another."""
    on_full: OnFull = OnFull.REFUSE_NEW
    """What becomes of handshakes with a credential when there is no room: they are refused."""


class SessionEvents(Model):
    """From where the guard hears that a session has ended, beside its own control API."""

    sources: tuple[Source, ...] = ()
    """Identity providers that post, and at most one stream of each type between replicas."""
    replay_window: PositiveDuration = duration("24h")
    """How far a stream is read back at the start; at least the longest `maxConnectionDuration`."""
    on_gap: OnGap | None = None
    """When a part of the stream was lost. CloseAll logs out all that was issued before; required with a stream."""
    on_outage: OnOutage = OnOutage.CONTINUE
    """While a stream is away: Continue, or refuse handshakes with a credential and be unready."""
    deny_list: DenyListSpec = DenyListSpec()
    """How log-outs are remembered."""

    @property
    def streams(self) -> tuple[RedisStream | NATSJetStream, ...]:
        """The sources that replicas share."""
        return tuple(source for source in self.sources if isinstance(source, (RedisStream, NATSJetStream)))

    @property
    def pushed(self) -> tuple[BackChannelLogout | SharedSignals, ...]:
        """The sources that identity providers post to."""
        return tuple(source for source in self.sources if isinstance(source, (BackChannelLogout, SharedSignals)))

    @field_validator("sources")
    @classmethod
    def _told_apart(cls, value: tuple[Source, ...]) -> tuple[Source, ...]:
        names = [
            source.type if isinstance(source, (RedisStream, NATSJetStream)) else f"{source.type} of {source.issuer}"
            for source in value
        ]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{names.count(name)} sources are {shorten(name, 200)}")
        return value
