from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.minting import provider
from wsguard.policy.credentials import Credential, CredentialConflict, Kind, erase, read_credentials
from wsguard.policy.model import Metadata, PolicySpec, WebSocketPolicy
from wsguard.policy.model_jwt import Jwt
from wsguard.protocol import base64url
from wsguard.protocol.handshake import Handshake
from wsguard.protocol.http import Headers, RequestHead

TOKEN = "aaa.bbb.ccc"
K8S = "base64url.bearer.authorization.k8s.io."


def policy(*sources: dict[str, Any]) -> WebSocketPolicy:
    """A policy with one provider for each of `sources`, which is its `extractFrom`; None: the default place."""
    providers = tuple(
        provider("HS256", name=f"p{number}", extract_from=source or None) for number, source in enumerate(sources, 1)
    )
    return WebSocketPolicy(metadata=Metadata(name="chat"), spec=PolicySpec(jwt=Jwt(providers=providers)))


def shake(*fields: tuple[str, str], target: str = "/ws", offer: tuple[str, ...] = ()) -> Handshake:
    """A handshake with these header fields."""
    raw = tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in fields)
    if offer:
        raw = (*raw, (b"Sec-WebSocket-Protocol", ", ".join(offer).encode("latin-1")))
    return Handshake(RequestHead("GET", target, (1, 1), Headers(raw)), "/ws", b"", None, offer, None)


def read(handshake: Handshake, *sources: dict[str, Any]) -> tuple[Credential, ...]:
    found = read_credentials(handshake, policy(*sources))
    assert not isinstance(found, CredentialConflict), found
    return found


def tokens(handshake: Handshake, *sources: dict[str, Any]) -> list[str]:
    return [credential.token for credential in read(handshake, *sources)]


def conflict(handshake: Handshake, *sources: dict[str, Any]) -> str:
    found = read_credentials(handshake, policy(*sources))
    assert isinstance(found, CredentialConflict), found
    assert TOKEN not in found.detail
    return found.detail


COOKIE = {"cookies": ["session"]}
HEADER: dict[str, Any] = {}
PARAM = {"params": ["access_token"]}
BEARER = {"subprotocols": ["bearer."]}
KUBERNETES = {"subprotocols": [{"prefix": K8S, "encoding": "Base64URL"}]}


def test_a_policy_without_jwt_looks_nowhere() -> None:
    open_policy = WebSocketPolicy(metadata=Metadata(name="open"), spec=PolicySpec())
    assert read_credentials(shake(("Cookie", f"session={TOKEN}")), open_policy) == ()


@pytest.mark.parametrize(
    ("handshake", "source", "found"),
    [
        (shake(("Cookie", f"a=1; session={TOKEN}; b=2")), COOKIE, "cookie:session"),
        (shake(("Authorization", f"Bearer {TOKEN}")), HEADER, "header:authorization"),
        (shake(("X-Token", TOKEN)), {"headers": ["X-Token"]}, "header:x-token"),
        (shake(target=f"/ws?a=1&access_token={TOKEN}"), PARAM, "param:access_token"),
        (shake(offer=("chat", f"bearer.{TOKEN}")), BEARER, "subprotocol:bearer."),
        (shake(offer=(K8S + base64url.encode(TOKEN.encode()), "chat")), KUBERNETES, f"subprotocol:{K8S}"),
    ],
)
def test_a_token_is_read_where_the_policy_says(handshake: Handshake, source: dict[str, Any], found: str) -> None:
    (credential,) = read(handshake, source)
    assert (credential.source, credential.token, credential.providers) == (found, TOKEN, ("p1",))
    assert TOKEN not in repr(credential)
    for other in (COOKIE, PARAM, BEARER, KUBERNETES, {"headers": ["X-Other"]}):
        if other is not source:
            assert read(handshake, other) == ()


def test_what_the_backend_sees_unless_it_is_said() -> None:
    handshake = shake(
        ("Cookie", f"session={TOKEN}"),
        ("Authorization", f"Bearer {TOKEN}"),
        target=f"/ws?access_token={TOKEN}",
        offer=(f"bearer.{TOKEN}",),
    )
    found = read(handshake, COOKIE, HEADER, PARAM, BEARER)
    assert [(credential.kind, credential.forward) for credential in found] == [
        (Kind.COOKIE, True), (Kind.HEADER, True), (Kind.PARAM, False), (Kind.SUBPROTOCOL, False),
    ]  # fmt: skip


def test_a_place_that_several_providers_read_is_one_credential() -> None:
    (credential,) = read(shake(("Cookie", f"session={TOKEN}")), COOKIE, PARAM, COOKIE)
    assert credential.providers == ("p1", "p3")
    hidden = {"cookies": [{"name": "session", "forward": False}]}
    (credential,) = read(shake(("Cookie", f"session={TOKEN}")), COOKIE, hidden, COOKIE)
    assert not credential.forward, "one provider that hides it is enough"


@pytest.mark.parametrize(
    "handshake",
    [
        shake(("Cookie", "session=; a=1")),
        shake(("Cookie", 'session=""')),
        shake(target="/ws?access_token="),
        shake(target="/ws?access_token"),
        shake(target="/ws"),
        shake(("X-Token", "")),
        shake(("Cookie", "sessions=1"), target="/ws?token=1", offer=("chat", "bearer")),
    ],
)
def test_an_empty_place_is_no_credential(handshake: Handshake) -> None:
    assert read(handshake, COOKIE, PARAM, BEARER, {"headers": ["X-Token"]}) == ()


@pytest.mark.parametrize(
    "value",
    [
        "Bearer aaa.bbb.ccc",
        "bearer aaa.bbb.ccc",
        "BEARER   aaa.bbb.ccc",
        "Bearer\taaa.bbb.ccc",
        "bEaReR \t aaa.bbb.ccc ",
    ],
)
def test_a_scheme_is_known_in_any_case_and_with_any_space(value: str) -> None:
    assert tokens(shake(("Authorization", value)), HEADER) == [TOKEN]


@pytest.mark.parametrize("value", ["Bearer", "Bearer ", "Bearer,", "Bearer\xa0aaa.bbb.ccc", "Bearer=aaa.bbb.ccc"])
def test_what_a_backend_may_take_for_the_scheme_is_a_credential_though_a_bad_one(value: str) -> None:
    (token,) = tokens(shake(("Authorization", value)), HEADER)
    assert token != TOKEN


@pytest.mark.parametrize("value", ["Basic YTpi", "Bearers aaa", "Bearer-X aaa", "BearerA", "B", "xBearer a", ""])
def test_another_scheme_is_no_credential(value: str) -> None:
    assert tokens(shake(("Authorization", value)), HEADER) == []


def test_a_prefix_that_is_no_scheme_need_not_end_in_space() -> None:
    source = {"headers": [{"name": "X-Auth", "value_prefix": "token="}]}
    assert tokens(shake(("X-Auth", f"Token={TOKEN}")), source) == [TOKEN]
    assert tokens(shake(("X-Auth", "token")), source) == []


@pytest.mark.parametrize(
    "offer",
    [K8S, K8S + "=", K8S + "YWFh=", K8S + "YW F", K8S + base64url.encode(b"\xff\xfe"), K8S + "!"],
)
def test_a_subprotocol_that_holds_no_token_is_a_bad_credential(offer: str) -> None:
    (credential,) = read(shake(offer=("chat", offer)), KUBERNETES)
    assert (credential.token, credential.offered) == ("", offer)


def test_a_prefix_counts_in_any_case() -> None:
    assert tokens(shake(offer=(f"Bearer.{TOKEN}",)), BEARER) == [TOKEN]


@pytest.mark.parametrize(
    ("handshake", "where"),
    [
        (shake(("Cookie", f"session={TOKEN}; session=other")), "cookie:session"),
        (shake(("Cookie", f"session={TOKEN}"), ("Cookie", "session=other")), "cookie:session"),
        (shake(("Cookie", f"session={TOKEN}; session=")), "cookie:session"),
        (shake(("Authorization", f"Bearer {TOKEN}"), ("Authorization", "Bearer other")), "header:authorization"),
        (shake(("Authorization", f"Bearer {TOKEN}"), ("authorization", "Basic YTpi")), "header:authorization"),
        (shake(("X-Token", TOKEN), ("x_token", "other")), "header:x-token"),
        (shake(target=f"/ws?access_token={TOKEN}&access_token=other"), "param:access_token"),
        (shake(target=f"/ws?access_token={TOKEN}&%61ccess_token="), "param:access_token"),
        (shake(offer=(f"bearer.{TOKEN}", "bearer.other")), "subprotocol:bearer."),
    ],
)
def test_one_place_with_two_values_is_a_conflict(handshake: Handshake, where: str) -> None:
    sources = (COOKIE, HEADER, PARAM, BEARER, {"headers": ["X-Token"]})
    assert conflict(handshake, *sources) == f"{where} occurs 2 times with different values"


def test_the_same_value_twice_is_one_credential() -> None:
    handshake = shake(
        ("Cookie", f"session={TOKEN}; session={TOKEN}"), ("X-Token", TOKEN), ("X_Token", TOKEN),
        target=f"/ws?access_token={TOKEN}&access_token={TOKEN}",
    )  # fmt: skip
    assert tokens(handshake, COOKIE, PARAM, {"headers": ["X-Token"]}) == [TOKEN] * 3


# Erasing.

HIDDEN: tuple[dict[str, Any], ...] = (
    {"cookies": [{"name": "session", "forward": False}]},
    {"headers": [{"name": "Authorization", "value_prefix": "Bearer ", "forward": False}]},
    {"headers": [{"name": "X-Token", "forward": False}]},
    PARAM,
    BEARER,
    KUBERNETES,
)


def erased(handshake: Handshake, *sources: dict[str, Any]) -> RequestHead:
    return erase(handshake.head, read(handshake, *(sources or HIDDEN)))


def test_all_of_it_goes_and_nothing_else() -> None:
    handshake = shake(
        ("Host", "app.example.test"),
        ("Cookie", f'theme=dark;  session={TOKEN};x="a, b" ; y=%20'),
        ("authorization", f"Bearer {TOKEN}"),
        ("X-TOKEN", TOKEN),
        ("X_Token", TOKEN),
        ("Sec-WebSocket-Protocol", f"chat,  bearer.{TOKEN} ,v2"),
        target=f"/w%53?a=1&&access_token={TOKEN}&b=%2f+",
    )
    handshake = Handshake(handshake.head, "/wS", b"", None, ("chat", f"bearer.{TOKEN}", "v2"), None)
    head = erased(handshake)
    assert head.target == "/w%53?a=1&&b=%2f+"
    assert head.headers.raw == (
        (b"Host", b"app.example.test"),
        (b"Cookie", b'theme=dark;x="a, b" ; y=%20'),
        (b"Sec-WebSocket-Protocol", b"chat,v2"),
    )


def test_what_may_be_forwarded_stays_to_the_byte() -> None:
    handshake = shake(("Cookie", f"session={TOKEN}"), ("Authorization", f"Bearer {TOKEN}"), target="/ws?a")
    assert erased(handshake, COOKIE, HEADER) is handshake.head


def test_what_was_not_read_as_a_credential_stays() -> None:
    handshake = shake(("Authorization", "Basic YTpi"), ("Sec-WebSocket-Protocol", "chat , bearers"))
    assert erased(handshake) is handshake.head


@pytest.mark.parametrize(
    ("values", "left"),
    [
        (["bearer.t"], []),
        (["chat, bearer.t"], ["chat"]),
        (["bearer.t, chat"], ["chat"]),
        (["a ,\tbearer.t\t,  b"], ["a ,  b"]),
        (["bearer.t", "a , b"], ["a , b"]),
        (["a , b", " bearer.t "], ["a , b"]),
        (["bearer.t, a", "b,bearer.t"], ["a", "b"]),
        (["bearer.tt, a, bearer.t"], ["bearer.tt, a"]),
    ],
)
def test_an_offer_is_taken_out_of_the_list(values: list[str], left: list[str]) -> None:
    head = shake(*(("Sec-Websocket-protocol", value) for value in values)).head
    credential = Credential(Kind.SUBPROTOCOL, "bearer.", ("p1",), False, "t", "bearer.t")
    assert erase(head, [credential]).headers.raw == tuple((b"Sec-Websocket-protocol", value.encode()) for value in left)


def test_the_question_mark_goes_with_the_last_parameter() -> None:
    assert erased(shake(target=f"/ws?access_token={TOKEN}")).target == "/ws"


WORDS = st.text(st.characters(codec="ascii", categories=["Lu", "Ll", "Nd"]), min_size=1, max_size=6)


@given(
    st.lists(st.tuples(WORDS, WORDS), max_size=4),
    st.lists(st.tuples(WORDS, WORDS), max_size=4),
    st.lists(WORDS, max_size=4, unique=True),
    st.integers(0, 4),
)
def test_putting_a_credential_in_and_erasing_it_changes_nothing(
    jar: list[tuple[str, str]], params: list[tuple[str, str]], offers: list[str], at: int
) -> None:
    def build(cookies: list[str], pairs: list[str], offer: list[str]) -> Handshake:
        fields = [("Host", "a"), *([("Cookie", "; ".join(cookies))] if cookies else [])]
        return shake(*fields, target="/ws" + ("?" + "&".join(pairs) if pairs else ""), offer=tuple(offer))

    def put(items: list[str], item: str) -> list[str]:
        return [*items[:at], item, *items[at:]]

    cookies = [f"c{name}={value}" for name, value in jar]
    pairs = [f"p{name}={value}" for name, value in params]
    clean = build(cookies, pairs, offers)
    loaded = build(
        put(cookies, f"session={TOKEN}"), put(pairs, f"access_token={TOKEN}"), put(offers, f"bearer.{TOKEN}")
    )
    assert tokens(loaded, *HIDDEN) == [TOKEN] * 3
    assert erased(loaded) == clean.head
    assert erased(clean) == clean.head


@given(st.text(), st.text(), st.text())
def test_any_values_are_read_without_an_exception(cookie: str, header: str, param: str) -> None:
    fields = [("Cookie", f"session={cookie}"), ("Authorization", f"Bearer {header}")]
    safe = [(name, value.encode("utf-8", "replace").decode("latin-1")) for name, value in fields]
    found = read_credentials(shake(*safe, target=f"/ws?access_token={param}"), policy(*HIDDEN))
    if not isinstance(found, CredentialConflict):
        erase(shake(*safe, target=f"/ws?access_token={param}").head, found)


def test_no_handshake_compares_policies_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reload brings a policy of the same name: a look at what the others read would grow with every one."""
    versions = [policy({"cookies": [{"name": f"session{number}"}]}) for number in range(3)]
    monkeypatch.setattr(WebSocketPolicy, "__eq__", None)
    jar = shake(("Cookie", "session0=a; session1=b; session2=c"))
    found = [read_credentials(jar, version) for version in versions]
    assert [[each.token for each in each_found] for each_found in found if isinstance(each_found, tuple)] == [
        ["a"], ["b"], ["c"],
    ]  # fmt: skip


def test_a_policy_that_was_replaced_is_not_kept() -> None:
    """A guard is reloaded for as long as it lives."""
    replaced = policy({"cookies": [{"name": "session"}]})
    assert read_credentials(shake(("Cookie", "session=a")), replaced) != ()
    is_gone = weakref.ref(replaced)
    del replaced
    gc.collect()
    assert is_gone() is None
