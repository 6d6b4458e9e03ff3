"""Which hosts a policy is for, and which Host field the guard answers to at all.

Law: a name that an attacker can point at this machine (DNS rebinding) is answered only if somebody named it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from wsguard.protocol.authority import Authority, parse_host

ANY_HOST = "*"
"""In `listener.allowedHosts`: the Host check is switched off."""


@dataclass(frozen=True, slots=True)
class HostPattern:
    """One host, or every host below one: `app.example.com`, `*.example.com`.

    A wildcard stands for one or more whole labels, as in the Kubernetes Gateway API: `*.example.com` matches
    `a.example.com` and `a.b.example.com`, and not `example.com`. Ports are not compared.
    """

    host: str
    wildcard: bool = False

    @classmethod
    def parse(cls, text: str) -> HostPattern:
        """Read a pattern in any spelling of its name. Raises ValueError with a sentence for the operator."""
        wildcard = text.startswith("*.")
        rest = text[2:] if wildcard else text
        if "*" in rest:
            raise ValueError(f"{text!r}: a wildcard is the whole first label, as in *.example.com")
        try:
            host = parse_host(rest)
        except ValueError as error:
            hint = _hint(rest, error)
            raise ValueError(f"{text!r} is not a host such as app.example.com or *.example.com: {hint}") from None
        if wildcard and Authority(host).is_ip:
            raise ValueError(f"{text!r}: an IP address has no subdomains")
        return cls(host, wildcard)

    def matches(self, host: str) -> bool:
        """True if `host`, in the spelling of `Authority.host`, is covered."""
        return host.endswith(f".{self.host}") if self.wildcard else host == self.host

    def __str__(self) -> str:
        return f"*.{self.host}" if self.wildcard else self.host


def host_allowed(
    authority: Authority,
    match_hostnames: Sequence[HostPattern],
    allowed_hosts: Sequence[str],
    listener_is_loopback: bool,
) -> bool:
    """Whether the guard answers to `authority`.

    `match_hostnames` are those of the policy that matched; `allowed_hosts` is `listener.allowedHosts`, each a
    host pattern or `*`. Where neither is set, a loopback listener answers only to what cannot be rebound:
    localhost names and IP literals.
    """
    if match_hostnames or allowed_hosts:
        return _any_matches(match_hostnames, authority.host) or any(
            text == ANY_HOST or _parsed(text).matches(authority.host) for text in allowed_hosts
        )
    return not listener_is_loopback or authority.is_localhost or authority.is_ip


def _any_matches(patterns: Iterable[HostPattern], host: str) -> bool:
    return any(pattern.matches(host) for pattern in patterns)


@lru_cache(maxsize=1024)
def _parsed(text: str) -> HostPattern:
    return HostPattern.parse(text)


def _hint(text: str, error: ValueError) -> str:
    if "://" in text:
        return "leave the scheme out"
    if "/" in text:
        return "leave the path out"
    if ":" in text and not text.startswith("["):
        return "leave the port out, every port is meant"
    return str(error)
