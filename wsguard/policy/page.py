"""Whose page a request is of, where it has no Origin: browsers leave that out of a GET to the page's own host."""

from __future__ import annotations

from ipaddress import ip_address

from wsguard.policy.effective import Effective
from wsguard.policy.origin import Origin
from wsguard.protocol.authority import DEFAULT_PORTS, Authority
from wsguard.protocol.http import RequestHead

OF_THIS_PAGE = (b"sec-fetch-site", b"same-origin")
"""The field that no script can set, and that browsers send over https and to localhost (Fetch Metadata)."""


def page_of(head: RequestHead, effective: Effective) -> Origin | None:
    """The origin of the page that sent `head`, which has no Origin field; None where the browser does not say.

    Where nobody knows the scheme it is https, but on this machine: elsewhere browsers would not have said.
    """
    if head.method not in ("GET", "HEAD") or head.headers.tokens(OF_THIS_PAGE[0]) != [OF_THIS_PAGE[1]]:
        return None
    where = effective.authority
    scheme = effective.scheme or ("http" if _is_here(where) else "https")
    return Origin(scheme, where.host, where.port or DEFAULT_PORTS[scheme])


def _is_here(where: Authority) -> bool:
    return where.is_localhost or (where.is_ip and ip_address(where.host.strip("[]")).is_loopback)


def written(page: Origin) -> str:
    """`page` as an Origin field would have it (RFC 6454 §6.2)."""
    return f"{page.scheme}://{page.host}" + ("" if page.port == DEFAULT_PORTS[page.scheme] else f":{page.port}")
