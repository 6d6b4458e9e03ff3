"""Which subprotocol a 101 of the guard's own names, so that a browser goes on, and which offers the backend gets."""

from __future__ import annotations

import pytest

from tests.policy.minting import provider
from wsguard.policy.model import (
    Enforcement,
    ExtractFrom,
    Jwt,
    Limits,
    Metadata,
    PolicySpec,
    SubprotocolSource,
    WebSocketPolicy,
)
from wsguard.policy.subprotocols import answered_early, echo, is_credential, plain_offers, promised, unlisted
from wsguard.protocol.handshake import Handshake
from wsguard.protocol.http import Headers, RequestHead

KUBERNETES = "base64url.bearer.authorization.k8s.io."


def policy(
    *prefixes: str, listed: tuple[str, ...] = (), enforcement: Enforcement = Enforcement.ENFORCE
) -> WebSocketPolicy:
    """One that reads tokens from subprotocols of these prefixes, each by a provider of its own; none: from headers."""
    providers = tuple(
        provider("HS256", name=f"p{number}", extract_from=ExtractFrom(subprotocols=(SubprotocolSource(prefix=prefix),)))
        for number, prefix in enumerate(prefixes)
    )
    jwt = Jwt(providers=providers or (provider("HS256"),))
    return WebSocketPolicy(
        metadata=Metadata(name="chat"),
        spec=PolicySpec(jwt=jwt, limits=Limits(subprotocols=listed) if listed else Limits(), enforcement=enforcement),
    )


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


LISTED = ("chat", "superchat")


@pytest.mark.parametrize(
    ("offered", "plain", "dropped", "promise", "answer"),
    [
        ((), (), (), None, None),
        (("chat",), ("chat",), (), "chat", "chat"),
        (("superchat", "chat"), ("superchat", "chat"), (), "superchat", "superchat"),
        (("other", "chat"), ("other", "chat"), ("other",), "chat", "chat"),
        (("CHAT", "chat"), ("CHAT", "chat"), ("CHAT",), "chat", "chat"),
        (("bearer.abc", "x", "chat"), ("x", "chat"), ("x",), "chat", "chat"),
        (("bearer.abc",), (), (), None, "bearer.abc"),
        (("other",), ("other",), ("other",), None, None),
    ],
)
def test_only_what_is_listed_goes_on(
    offered: tuple[str, ...], plain: tuple[str, ...], dropped: tuple[str, ...], promise: str | None, answer: str | None
) -> None:
    """A credential is no offer: it is neither listed nor dropped. Early, the client's own order counts."""
    which, shaken = policy("bearer.", listed=LISTED), handshake(*offered)
    assert plain_offers(shaken, which) == plain
    assert unlisted(shaken, which) == dropped
    assert promised(shaken, which) == promise
    assert answered_early(shaken, which) == answer


def test_nothing_is_dropped_where_nothing_is_listed_or_only_audited() -> None:
    shaken = handshake("other", "chat")
    assert unlisted(shaken, policy()) == ()
    assert promised(shaken, policy()) is None
    assert unlisted(shaken, policy(listed=LISTED, enforcement=Enforcement.AUDIT)) == ()
