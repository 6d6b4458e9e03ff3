"""The parts of a WebSocketPolicy on who else is asked about a credential: `introspection` and `forwardAuth`."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator

from wsguard.policy.fields import Count, Duration, File, Flag, Name, Text, Uri, duration
from wsguard.policy.model_base import Model, unique
from wsguard.policy.model_claims import ClaimsToHeaders
from wsguard.policy.model_extraction import AskedHeader, Extraction, HeaderName, bearer_by_default


class IntrospectionProvider(Model):
    """A server that says whom an opaque token speaks for (RFC 7662)."""

    name: Name
    """The provider's name in rules, logs and metrics, unlike that of any `jwt` provider."""
    endpoint: Uri
    """Where the token is sent, with POST; redirects are not followed."""
    client_id: Text
    """The guard's own name at that server, for `client_secret_basic`."""
    client_secret_file: File
    """The file of the secret that goes with it."""
    ca_file: File | None = None
    """PEM certificates to trust for `endpoint`, in place of the system's."""
    issuer: Text | None = None
    """The issuer in the name of which the server answers; an answer with another `iss` refuses."""
    audiences: tuple[Text, ...] = Field(default=(), min_length=1)
    """What `aud` in the answer must hold one of; absent: `aud` is not checked."""
    extract_from: Extraction = bearer_by_default()
    """Where the token stands; absent: in `Authorization`, behind `Bearer` and a space."""
    cache_duration: Duration = duration("30s")
    """How long a yes is remembered, never beyond the answer's `exp`; 0s: not at all."""
    claim_to_headers: ClaimsToHeaders = ()
    """Members of the answer that the backend is told in header fields."""


class Introspection(Model):
    """Opaque tokens as credentials: as good as those of `jwt`, and refused as they are."""

    optional: Flag = False
    """Whether a handshake without a token is anonymous; a bad token is still refused."""
    providers: tuple[IntrospectionProvider, ...] = Field(min_length=1)
    """Who is asked."""

    @field_validator("providers")
    @classmethod
    def _one_name_each(cls, value: tuple[IntrospectionProvider, ...]) -> tuple[IntrospectionProvider, ...]:
        unique((provider.name for provider in value), "providers")
        return value


class SubjectFrom(Model):
    """Where the service's answer says who it is about."""

    json_path: Text
    """The member of the JSON answer that names the subject, a string or an integer; dots lead into nested ones."""


def _distinct(value: tuple[str, ...]) -> tuple[str, ...]:
    unique((name.lower().replace("_", "-") for name in value), "header fields")
    return value


class ForwardAuth(Model):
    """The application's own word on a handshake, which it must approve whatever other credentials say."""

    url: Uri
    """What is asked, with GET: 2xx is yes, 3xx and 4xx no; redirects are not followed."""
    headers_to_ext_auth: Annotated[tuple[AskedHeader, ...], AfterValidator(_distinct)] = Field(min_length=1)
    """The header fields of the handshake that are sent along, such as `cookie`; no others are."""
    headers_to_backend: Annotated[tuple[HeaderName, ...], AfterValidator(_distinct)] = ()
    """The header fields of the answer that the backend gets; what a client sends under these names is removed."""
    subject_from: SubjectFrom | None = None
    """Where the answer names the caller; absent: a yes names nobody."""
    ca_file: File | None = None
    """PEM certificates to trust for `url`, in place of the system's."""
    cache_duration: Duration = duration("5s")
    """How long a yes is remembered, unless the answer's `Cache-Control` says shorter; 0s: not at all."""
    max_concurrent: Annotated[Count, Field(ge=1)] = 64
    """How many questions are under way at once; others wait, within the handshake's own time."""

    @property
    def issuer(self) -> str:
        """In whose name a subject is: the origin of `url`."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}".lower()
