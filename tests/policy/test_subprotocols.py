"""Which subprotocol a refusal echoes, so that a browser lets its script read the close code."""

from __future__ import annotations

import pytest

from tests.policy.minting import provider
from wsguard.policy.model import ExtractFrom, Jwt, Metadata, PolicySpec, SubprotocolSource, WebSocketPolicy
from wsguard.policy.subprotocols import echo, is_credential
from wsguard.protocol.handshake import Handshake
from wsguard.protocol.http import Headers, RequestHead

KUBERNETES = "base64url.bearer.authorization.k8s.io."


def policy(*prefixes: str) -> WebSocketPolicy:
    """One that reads tokens from subprotocols of these prefixes, each by a provider of its own; none: from headers."""
    providers = tuple(
        provider("HS256", name=f"p{number}", extract_from=ExtractFrom(subprotocols=(SubprotocolSource(prefix=prefix),)))
        for number, prefix in enumerate(prefixes)
    )
    jwt = Jwt(providers=providers or (provider("HS256"),))
    return WebSocketPolicy(metadata=Metadata(name="chat"), spec=PolicySpec(jwt=jwt))


def handshake(*offered: str) -> Handshake:
    return Handshake(RequestHead("GET", "/", (1, 1), Headers()), "/", b"", None, offered, None)


NO_JWT = WebSocketPolicy(metadata=Metadata(name="open"), spec=PolicySpec())


@pytest.mark.parametrize(
    ("offered", "which", "echoed"),
    [
        ((), policy("bearer."), None),
        (("chat",), None, "chat"),
        (("chat", "superchat"), NO_JWT, "chat"),
        (("chat", "superchat"), policy(), "chat"),
        (("bearer.abc", "chat"), policy("bearer."), "chat"),
        (("wsguard.token.abc", "chat"), NO_JWT, "chat"),
        (("WSGuard.Token.abc", "bearer.abc", "chat"), policy("bearer."), "chat"),
        (("wsguard.token.abc",), None, "wsguard.token.abc"),
        (("BEARER.abc", "chat"), policy("bearer."), "chat"),
        (("bearer.abc", "chat"), policy(), "bearer.abc"),
        (("bearer.abc", "chat"), None, "bearer.abc"),
        (("bearer.abc",), policy("bearer."), "bearer.abc"),
        (("bearer.abc", "bearer.def"), policy("bearer."), "bearer.abc"),
        (("a.x", "b.x", "chat"), policy("a.", "b."), "chat"),
        ((KUBERNETES + "abc", "v4.channel.k8s.io"), policy(KUBERNETES), "v4.channel.k8s.io"),
        (("bearer", "chat"), policy("bearer."), "bearer"),
    ],
)
def test_the_first_that_is_no_credential_is_echoed(
    offered: tuple[str, ...], which: WebSocketPolicy | None, echoed: str | None
) -> None:
    """Else the first that is one: it goes back to whoever sent it, and nowhere else."""
    assert echo(handshake(*offered), which) == echoed


def test_a_credential_is_known_by_its_prefix_without_case() -> None:
    """As it is when it is read."""
    which = policy("Bearer.")
    assert is_credential("bearer.", which)
    assert is_credential("bEARER.x", which)
    assert not is_credential("xbearer.x", which)
    assert not is_credential("bearer.x", None)
