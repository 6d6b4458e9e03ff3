"""The WebSocketPolicy document as types.

The names are those of the policy language; each field's docstring is its reference documentation, which
`wsguard schema` prints.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Literal

import re2
from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from wsguard.policy.fields import File, Flag, Hostname, HostPort, Name, PositiveDuration, duration, plain_path
from wsguard.policy.model_asking import ForwardAuth, Introspection, IntrospectionProvider, SubjectFrom
from wsguard.policy.model_authorization import (
    Action,
    Authorization,
    ClaimMatch,
    JwtPrincipal,
    Principal,
    Rule,
)
from wsguard.policy.model_base import Model, read_as, shorten, unique, written
from wsguard.policy.model_caps import Compression, Connections, Handshakes, Newcomer
from wsguard.policy.model_claims import ClaimToHeader
from wsguard.policy.model_events import (
    NATSJetStream,
    OnGap,
    OnOutage,
    RedisStream,
    SessionEvents,
    StreamTls,
)
from wsguard.policy.model_extraction import (
    CookieSource,
    Encoding,
    ExtractFrom,
    FirstMessage,
    HeaderSource,
    ParamSource,
    SubprotocolSource,
)
from wsguard.policy.model_flow import (
    Bandwidth,
    Messages,
    MessageType,
    OnExceed,
    SlowConsumer,
)
from wsguard.policy.model_guard import (
    Admin,
    Backend,
    ClientIPDetection,
    GuardConfig,
    GuardSpec,
    Listener,
    LogFormat,
    Logging,
    LogLevel,
    NonWebSocket,
    Shutdown,
    TrustedProxies,
)
from wsguard.policy.model_hold import BackendLoss, Hold
from wsguard.policy.model_jwt import (
    Algorithm,
    Jwt,
    JwtProvider,
    LocalJwks,
    RemoteJwks,
)
from wsguard.policy.model_keepalive import KeepAlive
from wsguard.policy.model_limits import Limits
from wsguard.policy.model_logout import LogoutDetection, LogoutRequest
from wsguard.policy.model_migration import Migration, MigrationHint
from wsguard.policy.model_overload import Overload
from wsguard.policy.model_pushed import BackChannelLogout, SharedSignals
from wsguard.policy.model_rate import ByteRate, Rate, Unit
from wsguard.policy.model_session import (
    Detail,
    Enforcement,
    ExpiryHint,
    Framing,
    OnReload,
    Rejection,
    RejectionMode,
    Renewal,
    Session,
)
from wsguard.policy.origin import SAME_HOST, MissingOrigin, OriginPattern
from wsguard.protocol.profiles import Profile
from wsguard.sessions.connection import Stream

__all__ = [
    "Action", "Admin", "Algorithm", "Authorization", "BackChannelLogout", "Backend", "Bandwidth", "ByteRate",
    "ClaimMatch", "ClaimToHeader", "ClientIPDetection", "Compression", "Connections", "CookieSource", "Detail",
    "Encoding", "Enforcement", "ExpiryHint", "ExtractFrom", "FirstMessage", "ForwardAuth", "Framing", "GuardConfig",
    "GuardSpec", "HandshakeToken", "Handshakes", "HeaderSource", "HostPort", "Introspection", "IntrospectionProvider",
    "Jwt", "JwtPrincipal", "JwtProvider", "KeepAlive", "Limits", "Listener", "LocalJwks", "LogFormat", "LogLevel",
    "Logging", "LogoutDetection", "LogoutRequest", "Match", "MessageType", "Messages", "Metadata", "Migration",
    "MigrationHint", "MissingOrigin", "NATSJetStream", "Newcomer", "NonWebSocket", "OnExceed", "OnGap", "OnOutage",
    "OnReload", "OriginPattern", "OriginSpec", "Overload", "ParamSource", "PathMatch", "PathType", "PolicySpec",
    "Principal", "Profile", "Rate", "RedisStream", "Rejection", "RejectionMode", "RemoteJwks", "Renewal", "Rule",
    "Session", "SessionEvents", "SharedSignals", "Shutdown", "SlowConsumer", "StreamTls", "SubjectFrom",
    "SubprotocolSource", "TrustedProxies", "Unit", "WebSocketPolicy",
]  # fmt: skip


_MOST_MATCHES = 100  # a policy claims every path on every one of its hosts: the product has a bound


class PathType(Enum):
    """How a path is compared."""

    EXACT = "Exact"
    PATH_PREFIX = "PathPrefix"
    REGULAR_EXPRESSION = "RegularExpression"


class PathMatch(Model):
    """One path, or several."""

    type: PathType
    """Exact, PathPrefix (by whole segments) or RegularExpression (RE2 syntax, the full path)."""
    value: Annotated[str, Field(strict=True)]
    """The path, percent-decoded, case-sensitive."""

    @field_validator("value")
    @classmethod
    def _can_match(cls, value: str, info: ValidationInfo) -> str:
        kind = info.data.get("type")
        if kind is PathType.REGULAR_EXPRESSION:
            _compile(value)
        elif kind is not None:
            plain_path(value)
        return value


def _compile(pattern: str) -> None:
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        why = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else error
        raise ValueError(f'"{shorten(pattern)}" is no RE2 regular expression: {why}') from None


class Match(Model):
    """Which handshakes the policy is for; the most specific policy wins."""

    hostnames: tuple[Hostname, ...] = Field(default=(), min_length=1, max_length=_MOST_MATCHES)
    """Hosts, `*.example.com` for every host below one; absent: any."""
    paths: tuple[PathMatch, ...] = Field(default=(), min_length=1, max_length=_MOST_MATCHES)
    """Paths; absent: any."""


class HandshakeToken(Model):
    """Tokens that a page fetches from `/.wsguard/handshake-token` and shows in its handshake."""

    required: Flag = False
    """true: without one nobody gets in. One that is shown is judged in any case."""
    secret_file: File
    """The file of the keys: 32 random bytes in base64 a line, of which the first seals and all open."""
    max_age: PositiveDuration = duration("60s")
    """How long a token can be used, as often as is wanted."""


class OriginSpec(Model):
    """Which pages may open a connection."""

    allow_origins: tuple[
        Annotated[
            OriginPattern,
            *read_as(OriginPattern, OriginPattern.parse, "an origin such as https://app.example.com"),
        ],
        ...,
    ] = written((SAME_HOST,), ["SameHost"])
    """SameHost, origins, `https://*.example.com`, `null`, or `*`; a list replaces the default."""
    missing: MissingOrigin = MissingOrigin.DENY_WITH_COOKIE
    """A handshake without an Origin: Deny, Allow, or DenyWithCookie (what browsers add by themselves counts)."""
    handshake_token: HandshakeToken | None = None
    """A proof that the page is one of the application's own, beside its Origin; absent: none is looked for."""


def _distinct_streams(value: tuple[Stream, ...]) -> tuple[Stream, ...]:
    unique((stream.value for stream in value), "streams")
    return value


class PolicySpec(Model):
    """Everything that a WebSocketPolicy says."""

    match: Match = Match()
    """Which handshakes the policy is for; absent: all."""
    origin: OriginSpec = OriginSpec()
    """Which pages may open a connection."""
    jwt: Jwt | None = None
    """Tokens as credentials; absent: none is demanded."""
    introspection: Introspection | None = None
    """Opaque tokens as credentials, which a server is asked about; absent: none is demanded."""
    forward_auth: ForwardAuth | None = None
    """A service that must approve as well, such as the application itself; absent: none is asked."""
    authorization: Authorization | None = None
    """What a caller may do; absent: any verified credential is enough."""
    session: Session = Session()
    """How long a connection lives."""
    limits: Limits = Limits()
    """How much of anything a client may have."""
    keep_alive: KeepAlive = KeepAlive()
    """Who is pinged, and taken for dead; absent: nobody."""
    framing: Framing = Framing.STRICT
    """Strict: a frame that breaks RFC 6455 cuts. Transparent: only wrong masking and an impossible length do."""
    rejection: Rejection = Rejection()
    """How a client is told no."""
    backend_loss: BackendLoss = BackendLoss.CLOSE
    """What becomes of a client whose backend is lost: Close, or Hold, where its protocol bears that."""
    hold: Hold | None = None
    """With `backendLoss: Hold`: how clients are held."""
    migration: Migration | None = None
    """What clients are told before a drain closes their connections; absent: nothing."""
    streams: Annotated[tuple[Stream, ...], AfterValidator(_distinct_streams), Field(min_length=1)] = (
        Stream.WEB_SOCKET,
    )
    """What is judged: WebSocket, ServerSentEvents (by the answer's Content-Type), LongPolling (all HTTP)."""
    enforcement: Enforcement = Enforcement.ENFORCE
    """Audit decides and records, and lets through."""

    @property
    def providers(self) -> tuple[JwtProvider | IntrospectionProvider, ...]:
        """Everyone who may vouch for a credential."""
        opaque = self.introspection.providers if self.introspection else ()
        return (*(self.jwt.providers if self.jwt else ()), *opaque)


class Metadata(Model):
    """What a document is called."""

    name: Name
    """The policy's name in logs and metrics; unique."""


class WebSocketPolicy(Model):
    """What the guard demands of the handshakes and connections it matches."""

    api_version: Literal["wsguard.dev/v1"] = "wsguard.dev/v1"
    """The version of the policy language."""
    kind: Literal["WebSocketPolicy"] = "WebSocketPolicy"
    """What the document is."""
    metadata: Metadata
    """What the policy is called."""
    spec: PolicySpec
    """What it says."""

    @property
    def name(self) -> str:
        """The policy's name."""
        return self.metadata.name

    def __hash__(self) -> int:  # `rejection.codes` is a mapping, which has no hash
        return hash(self.metadata.name)


DEFAULT_POLICY = WebSocketPolicy(metadata=Metadata(name="default"), spec=PolicySpec())
"""What holds where no policy is given: every path, SameHost, no credential demanded."""
