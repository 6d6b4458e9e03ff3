"""Who the caller is, told to the backend in header fields that nobody but the guard can set.

What a header line cannot carry of a value is percent-encoded, and so is the percent sign: no two claims read
the same, and no claim can end the line or add another. Plain identifiers pass unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from wsguard.policy.claims import lookup, texts
from wsguard.protocol.http import Headers, folded
from wsguard.sessions.identity import ClientCertificate, Identity

if TYPE_CHECKING:
    from wsguard.policy.model import IntrospectionProvider, JwtProvider, PolicySpec

OWN_PREFIX = b"x-wsguard-"
"""Every field whose name begins so is the guard's."""

# All but printable ASCII, and spaces at the ends, which a recipient would trim (RFC 9110 §5.5).
_UNSAFE = re.compile(rb"[^ -~]|%|^ +|(?<! ) +\Z")
_UNSAFE_IN_LIST = re.compile(_UNSAFE.pattern + rb"|,")


def identity_headers(
    provider: JwtProvider | IntrospectionProvider, identity: Identity
) -> tuple[tuple[bytes, bytes], ...]:
    """The fields that `provider` wants the backend to have, in its order.

    Text as it is, numbers and booleans as JSON writes them, lists joined with commas (a comma within an item
    is encoded). A claim that is missing, null, an object, an empty list or a list of such makes no field.
    """
    fields = []
    for wanted in provider.claim_to_headers:
        claim = lookup(identity.claims, wanted.claim)
        values = texts(claim)
        if values:
            value = _list(values) if isinstance(claim, list) else _UNSAFE.sub(_escape, values[0].encode("utf-8"))
            fields.append((wanted.header.encode("ascii"), value))
    return tuple(fields)


def certificate_headers(certificate: ClientCertificate | None) -> tuple[tuple[bytes, bytes], ...]:
    """The fields that tell of a client's certificate: its subject, and its other names, joined with commas."""
    if certificate is None:
        return ()
    subject = (b"X-Wsguard-Client-Cert-Subject", _UNSAFE.sub(_escape, certificate.subject.encode("utf-8")))
    return (subject, (b"X-Wsguard-Client-Cert-SAN", _list(certificate.sans))) if certificate.sans else (subject,)


def _list(values: Iterable[str]) -> bytes:
    return b",".join(_UNSAFE_IN_LIST.sub(_escape, text.encode("utf-8")) for text in values)


def strip_names(specs: Iterable[PolicySpec]) -> frozenset[bytes]:
    """The fields, besides the guard's own, that no client may send: any `claimToHeaders` and `headersToBackend`."""
    return frozenset(folded(header.encode("ascii")) for spec in specs for header in _told(spec))


def _told(spec: PolicySpec) -> Iterator[str]:
    for provider in spec.providers:
        yield from (wanted.header for wanted in provider.claim_to_headers)
    if spec.forward_auth is not None:
        yield from spec.forward_auth.headers_to_backend


def strip(headers: Headers, names: frozenset[bytes]) -> Headers:
    """`headers` less what only the guard may say: `names` (from `strip_names`) and every X-Wsguard-*, however spelt."""
    kept = tuple((key, value) for key, value in headers.raw if not _is_reserved(folded(key), names))
    return headers if len(kept) == len(headers.raw) else Headers(kept)


def _is_reserved(name: bytes, names: frozenset[bytes]) -> bool:
    return name in names or name.startswith(OWN_PREFIX)


def _escape(found: re.Match[bytes]) -> bytes:
    return b"".join(b"%%%02X" % byte for byte in found[0])
