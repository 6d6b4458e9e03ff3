"""The GuardConfig document: what belongs to the process and not to one policy."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from wsguard.policy.fields import (
    Address,
    AllowedHost,
    Cidr,
    Count,
    Duration,
    File,
    Flag,
    HostPort,
    Name,
    PositiveDuration,
    Uri,
    duration,
)
from wsguard.policy.model_base import Model, one_of, read_as, shorten, written
from wsguard.policy.model_events import SessionEvents
from wsguard.policy.model_overload import Overload
from wsguard.policy.model_session import sendable
from wsguard.policy.model_tls import BackendTls, ListenerTls
from wsguard.policy.socket_path import ListenAddress, SocketPath
from wsguard.protocol.authority import DEFAULT_PORTS, parse_authority
from wsguard.protocol.reasons import CloseReason


class NonWebSocket(Enum):
    """What becomes of requests that are no WebSocket handshake."""

    FORWARD = "Forward"
    DENY = "Deny"


class LogLevel(Enum):
    """The least severity that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(Enum):
    """How a log line is written."""

    JSON = "json"
    TEXT = "text"


class Listener(Model):
    """The public port."""

    address: ListenAddress = written(HostPort("127.0.0.1", 8080), "127.0.0.1:8080")
    """Where the guard listens: HOST:PORT, or unix:/PATH."""
    allowed_hosts: tuple[AllowedHost, ...] = ()
    """Hosts that are answered beside those of the policy's `match.hostnames`; `*` switches the check off."""
    handshake_timeout: PositiveDuration = duration("10s")
    """How long a client may take to send its handshake; as long before it for a PROXY header, and for TLS."""
    body_timeout: Duration = duration("60s")
    """How long a client may take to send 8 KiB of a forwarded body, and to take 8 KiB of an answer; `0s`: no bound."""
    tls: ListenerTls | None = None
    """Certificates, so that the port speaks TLS; absent: it does not."""
    proxy_protocol: Flag = False
    """Every connection begins with a PROXY header, version 1 or 2, which says where the client is."""


class TrustedProxies(Model):
    """Which proxies in front are believed: exactly one of the two."""

    model_config = one_of("trustedCIDRs", "numTrustedHops")

    trusted_cidrs: tuple[Cidr, ...] = Field(default=(), min_length=1)
    """The networks of the proxies."""
    num_trusted_hops: Count | None = Field(default=None, ge=1, validate_default=True)
    """How many proxies stand in front."""

    @field_validator("num_trusted_hops")
    @classmethod
    def _one_way(cls, value: int | None, info: ValidationInfo) -> int | None:
        if bool(info.data.get("trusted_cidrs", True)) is (value is not None):
            raise ValueError("expected exactly one of trustedCIDRs and numTrustedHops")
        return value


class ClientIPDetection(Model):
    """How the client's address is known behind proxies: by the one header that they set, and by that alone."""

    model_config = one_of("xForwardedFor", "forwarded")

    x_forwarded_for: TrustedProxies | None = None
    """From X-Forwarded-For, walked from the right; scheme and host from X-Forwarded-Proto and -Host."""
    forwarded: Annotated[TrustedProxies | None, Field(validate_default=True)] = None
    """From Forwarded (RFC 7239), walked from the right; scheme and host from the nearest proxy's element."""

    @field_validator("forwarded")
    @classmethod
    def _one_header(cls, value: TrustedProxies | None, info: ValidationInfo) -> TrustedProxies | None:
        if "x_forwarded_for" in info.data and (info.data["x_forwarded_for"] is None) is (value is None):
            raise ValueError("expected exactly one of xForwardedFor and forwarded")
        return value

    @property
    def proxies(self) -> TrustedProxies:
        """Who is believed, whichever header it is."""
        proxies = self.x_forwarded_for or self.forwarded
        assert proxies is not None  # one of the two
        return proxies


_PLAIN = {"http": "http", "ws": "http", "https": "https", "wss": "https"}


def parse_backend_url(text: str) -> str:
    """`http://HOST[:PORT]`, `https://` or `unix:///PATH` in one spelling each; raises ValueError for anything else.

    `ws` and `wss` are the same as `http` and `https`: what is no WebSocket goes there too.
    """
    if text.lower().startswith("unix:"):
        return str(SocketPath.parse(text))
    try:
        parts = urlsplit(text)
        if parts.scheme not in _PLAIN or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError
        authority = parse_authority(parts.netloc)
    except ValueError:
        example = "an address such as http://127.0.0.1:3000, https://app.internal or unix:///run/app.sock"
        raise ValueError(f'expected {example}, without a path, found "{shorten(text)}"') from None
    scheme = _PLAIN[parts.scheme]
    return f"{scheme}://{authority.host}:{authority.port or DEFAULT_PORTS[scheme]}"


class Backend(Model):
    """The application behind the guard."""

    name: Name = "default"
    """The backend's name in metrics, in the control API, and for `wsguard migrate`."""
    url: Annotated[str, *read_as(str, parse_backend_url, "an address such as http://127.0.0.1:3000", format="uri")]
    """Where it listens: http://HOST:PORT, https://HOST:PORT (with TLS), or unix:///PATH."""
    connect_timeout: PositiveDuration = duration("2s")
    """How long a connection to it may take, a TLS handshake included."""
    response_timeout: Duration = duration("5m")
    """How long it may take to begin its answer to a forwarded request, or to take more of its body. `0s`: no bound."""
    tls: BackendTls = BackendTls()
    """How its certificate is verified, where `url` is https."""

    @field_validator("tls")
    @classmethod
    def _only_with_tls(cls, value: BackendTls, info: ValidationInfo) -> BackendTls:
        if value != BackendTls() and not str(info.data.get("url", "https:")).startswith("https:"):
            raise ValueError("tls is for an https:// url")
        return value

    @property
    def is_tls(self) -> bool:
        """Whether it is spoken to over TLS."""
        return self.url.startswith("https:")

    @property
    def address(self) -> HostPort | SocketPath:
        """What `url` leads to."""
        if self.url.startswith("unix:"):
            return SocketPath.parse(self.url)
        return HostPort.parse(self.url.partition("://")[2])

    @property
    def server_name(self) -> str | None:
        """The name that its certificate must have; None where it is not spoken to over TLS."""
        if not self.is_tls:
            return None
        address = self.address
        return self.tls.server_name or (address.host if isinstance(address, HostPort) else None)


class Shutdown(Model):
    """How the guard ends."""

    drain_window: Duration = duration("20s")
    """Over how long a drain spreads the closes."""
    close_code: Annotated[Count, AfterValidator(sendable)] = CloseReason.DRAINING.code
    """The close code of a drain, unless the policy's profile or codes say otherwise."""
    max_closes_per_second: Annotated[Count | None, Field(ge=1, validate_default=True)] = None
    """How many connections a drain or a migration sends away in a second, if need be beyond its window; absent: any."""
    admit_during_drain: Flag = False
    """true: handshakes are admitted until the last are told to leave, for balancers that do not hear of `/readyz`."""


class Admin(Model):
    """The port for probes and metrics."""

    address: Address = written(HostPort("127.0.0.1", 9090), "127.0.0.1:9090")
    """Where the admin port listens."""
    allowed_hosts: tuple[AllowedHost, ...] = ()
    """Hosts that are answered beside loopback names and IP literals."""
    token_file: File | None = None
    """The file of the bearer token that opens the control API here; absent: only the control socket has it."""


class Logging(Model):
    """What is logged, and how."""

    level: LogLevel = LogLevel.INFO
    """The least severity that is logged."""
    format: LogFormat = LogFormat.JSON
    """One JSON object a line, or text."""
    audit_file: File | None = None
    """Where audit events go as JSON, instead of stdout: who was let in, who was not, and what an operator did."""


class Tracing(Model):
    """Traces of handshakes, sent by OpenTelemetry; needs the extra `otel`."""

    endpoint: Uri
    """Where traces go, by OTLP over HTTP; a collector takes them at `/v1/traces`."""
    sampling: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Which share of the traces that begin here is kept; of others whoever began them has decided."""


class GuardSpec(Model):
    """Everything that a GuardConfig says."""

    listener: Listener = Listener()
    """The public port."""
    client_ip_detection: ClientIPDetection | None = None
    """How the client's address is known; absent: it is the peer's."""
    backends: tuple[Backend, ...] = ()
    """The application behind the guard. Of several the first is active at the start, and `wsguard migrate` moves."""
    non_web_socket: NonWebSocket = NonWebSocket.FORWARD
    """What becomes of requests that are no WebSocket handshake."""
    session_events: SessionEvents = SessionEvents()
    """From where the guard hears that a session has ended."""
    shutdown: Shutdown = Shutdown()
    """How the guard ends."""
    overload: Overload = Overload()
    """When new work is turned away."""
    admin: Admin = Admin()
    """The port for probes and metrics."""
    logging: Logging = Logging()
    """What is logged, and how."""
    tracing: Tracing | None = None
    """Where traces of handshakes go; absent: there are none."""


class GuardConfig(Model):
    """What belongs to the process: ports, the backend, proxies in front, session events, logging. At most one."""

    api_version: Literal["wsguard.dev/v1"] = "wsguard.dev/v1"
    """The version of the policy language."""
    kind: Literal["GuardConfig"] = "GuardConfig"
    """What the document is."""
    spec: GuardSpec
    """What it says."""
