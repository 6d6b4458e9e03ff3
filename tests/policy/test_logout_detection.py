"""What an exchange with the application says about a session: log-out, another value, nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.exchanges import CLEARED, LISTED, LOGOUT, exchange, headers, policy
from tests.protocol.set_cookies import CLEARING, KEEPING, NOW
from wsguard.policy.credentials import CredentialConflict, read_credentials
from wsguard.policy.logout_detection import Exchange, LoggedOut, Replaced, Sign, session_cookies, signs
from wsguard.policy.model import WebSocketPolicy
from wsguard.protocol.handshake import Handshake
from wsguard.protocol.http import RequestHead
from wsguard.sessions.identity import cookie_digest

A, B = cookie_digest("a"), cookie_digest("b")


def read(one: Exchange, *policies: WebSocketPolicy) -> list[Sign]:
    return signs(one, policies or [policy()], NOW)


def over(one: Exchange, *policies: WebSocketPolicy) -> set[str]:
    """The cookies that are logged out, where nothing else is said."""
    found = read(one, *policies)
    assert all(isinstance(sign, LoggedOut) for sign in found), found
    return {sign.cookie for sign in found}


@pytest.mark.parametrize("field", CLEARING.values(), ids=CLEARING)
def test_an_answer_that_clears_the_cookie_is_a_logout(field: str) -> None:
    name = field.partition("=")[0].strip()
    target = "/app/logout" if "Path=/app" in field else "/logout"
    watching = policy(cookies=[name])
    said = read(exchange(field, method="GET", target=target, cookie=f"x=y; {name}=a"), watching)
    assert said == [LoggedOut(watching, A, f"the answer clears the cookie {name}")]


@pytest.mark.parametrize("field", KEEPING.values(), ids=KEEPING)
def test_an_answer_that_sets_another_value_replaces_it(field: str) -> None:
    (said,) = read(exchange(field))
    assert isinstance(said, Replaced)
    assert (said.cookie, said.policy.name) == (A, "chat")


SILENT = {
    "no Set-Cookie": exchange(),
    "another cookie": exchange("sessions=; Max-Age=0"),
    "the same name in other case": exchange("Session=; Max-Age=0"),
    "the request carried none": exchange(CLEARED, cookie=None),
    "an empty one": exchange(CLEARED, cookie="session="),
    "another one": exchange(CLEARED, cookie="id=a"),
    "the same value again": exchange("session=a; Path=/"),
    "the same value, refreshed and quoted": exchange('session="a"; Path=/; Max-Age=60'),
    "cleared elsewhere, kept here": exchange(CLEARED.replace("/", "/logout"), "session=a; Path=/"),
    "another Domain": exchange(f"{CLEARED}; Domain=example.org"),
    "a Domain below": exchange(f"{CLEARED}; Domain=a.app.example.com"),
    "a Path that was not asked for": exchange("session=; Max-Age=0; Path=/admin"),
    "a login that failed": exchange("session; Max-Age=0"),
}


@pytest.mark.parametrize("one", SILENT.values(), ids=SILENT)
def test_what_says_nothing(one: Exchange) -> None:
    assert read(one) == []


ENDING = {
    "any status": exchange(CLEARED, status=401),
    "any method": exchange(CLEARED, method="GET", target="/"),
    "a foreign page": exchange(CLEARED, Origin="https://evil.example", Sec_Fetch_Site="cross-site"),
    "the parent Domain": exchange(f"{CLEARED}; Domain=.example.com"),
    "set first, then cleared": exchange("session=b; Path=/", CLEARED),
    "both spellings of the Domain": exchange(CLEARED, f"{CLEARED}; Domain=example.com"),
    "set for another Domain": exchange(CLEARED, "session=b; Domain=example.org"),
}


@pytest.mark.parametrize("one", ENDING.values(), ids=ENDING)
def test_clearing_counts_whoever_asked(one: Exchange) -> None:
    """The browser of the user has no cookie left: whoever caused that, the session is over."""
    assert over(one) == {A}


REPLACING = {
    "a new value": exchange("session=b; Path=/"),
    "cleared, then set": exchange(CLEARED, "session=b; Path=/"),
    "cleared for one Domain, set for another": exchange(f"{CLEARED}; Domain=example.com", "session=b; Path=/"),
    "cleared without a Path below": exchange("session=; Max-Age=0", "session=b; Path=/", target="/api/login"),
}


@pytest.mark.parametrize("one", REPLACING.values(), ids=REPLACING)
def test_a_new_value_is_no_logout(one: Exchange) -> None:
    assert read(one) == [Replaced(policy(), A, B)]


def test_a_value_is_the_same_in_every_spelling_of_the_jar() -> None:
    """As it is of a credential, so that handshake and log-out mean one cookie."""
    for jar in ("session=a", 'session="a"', "x=y; session=a ", 'Session="a" ;z'):
        assert session_cookies(headers(("Cookie", jar)), ["session"]) == (A,)
    assert session_cookies(headers(("Cookie", "a=a; b=b; c=a")), ["a", "b", "c", "d"]) == (A, B)


def test_a_jar_with_two_values_means_both_and_has_a_bound() -> None:
    assert over(exchange(CLEARED, cookie="session=a; session=b; session=a")) == {A, B}
    jar = "; ".join(f"session={number}" for number in range(1000))
    assert len(over(exchange(CLEARED, cookie=jar))) == 256


def test_no_jar_that_a_browser_holds_hides_the_cookie_that_is_logged_out() -> None:
    """A neighbour's page, on another name of the domain, may set many of the same name that are sent before it."""
    neighbours = "; ".join(f"session={number}" for number in range(180))
    assert A in over(exchange(CLEARED, cookie=f"{neighbours}; session=a"))


def test_a_handshake_with_two_values_is_refused() -> None:
    """Else a thief could hide the stolen one behind others that he makes up."""
    head = RequestHead("GET", "/ws", (1, 1), headers(("Cookie", "session=a; session=b")))
    found = read_credentials(Handshake(head, "/ws", b"", None, (), None), policy())
    assert found == CredentialConflict("cookie:session occurs 2 times with different values")


@pytest.mark.parametrize(
    "one",
    [
        exchange(),
        exchange(status=200),
        exchange(status=399),
        exchange(target="/logout?next=/"),
        exchange(target="/%6Cogout"),
        exchange(method="DELETE", target="/a%20b/session", status=204),
        exchange("session=b"),
        exchange("session=a"),
        exchange(Origin="https://app.example.com"),
        exchange(Origin="https://app.example.com", Sec_Fetch_Site="same-origin"),
        exchange(Origin="null", Sec_Fetch_Site="same-origin"),
        exchange(Sec_Fetch_Site="none"),
    ],
)
def test_a_listed_request_that_went_well_is_a_logout(one: Exchange) -> None:
    assert over(one, LISTED) == {A}


@pytest.mark.parametrize(
    "one",
    [
        exchange(status=199),
        exchange(status=400),
        exchange(status=403),
        exchange(status=500),
        exchange(method="GET"),
        exchange(method="PUT"),
        exchange(method="post"),
        exchange(target="/logout/"),
        exchange(target="/Logout"),
        exchange(target="/x/../logout"),
        exchange(target="//logout"),
        exchange(target="/logout;x"),
        exchange(target="/log%2Fout"),
        exchange(cookie=None),
        exchange(Origin="https://evil.example"),
        exchange(Origin="https://evil.app.example.com"),
        exchange(Origin="http://app.example.com"),
        exchange(Origin="null"),
        exchange(Origin="null", Sec_Fetch_Site="same-site"),
        exchange(Origin="null", Sec_Fetch_Site="same-origin, cross-site"),
        exchange(Origin="https://app.example.com", Sec_Fetch_Site="cross-site"),
        exchange(Sec_Fetch_Site="cross-site"),
        exchange(Origin="nonsense"),
    ],
)
def test_what_is_no_success_of_a_listed_request_of_ones_own(one: Exchange) -> None:
    assert read(one, LISTED) == []


def test_a_get_counts_by_the_answer_alone() -> None:
    careless = policy(requests=[{"method": "GET", "path": "/logout"}])
    assert read(exchange(method="GET"), careless) == []
    assert over(exchange(CLEARED, method="GET"), careless) == {A}


def test_whose_origin_is_not_foreign_follows_the_policy_but_never_everyones() -> None:
    partner = exchange(Origin="https://partner.example")
    assert over(partner, policy(requests=[LOGOUT], origin=["https://partner.example"])) == {A}
    assert over(
        exchange(Origin="https://app.example.com"), policy(requests=[LOGOUT], origin=["https://x.example"])
    ) == {A}
    for everyone in (["*"], ["null"], ["SameHost"]):
        assert read(partner, policy(requests=[LOGOUT], origin=everyone)) == []
    assert read(exchange(Origin="null"), policy(requests=[LOGOUT], origin=["null"])) == []


def test_every_policy_for_the_host_has_a_say_whatever_its_paths() -> None:
    here, below = policy("here", ["app.example.com"]), policy("below", ["*.example.com"], cookies=["id"])
    other = policy("other", ["other.example.com"], requests=[LOGOUT])
    anywhere = policy("anywhere", cookies=["id"], requests=[LOGOUT])
    said = read(exchange(CLEARED, cookie="session=a; id=b"), other, here, below, anywhere)
    assert {(sign.policy.name, sign.cookie) for sign in said} == {("here", A), ("anywhere", B)}
    assert read(exchange(CLEARED), other) == []


def test_two_policies_say_it_once_and_a_logout_outweighs_a_new_value() -> None:
    rotating, listed = policy("rotating"), policy("listed", requests=[LOGOUT])
    assert read(exchange("session=b"), rotating, listed) == [
        LoggedOut(listed, A, "POST /logout was answered 302")
    ]  # fmt: skip
    assert [sign.policy.name for sign in read(exchange(CLEARED), rotating, listed)] == ["rotating"]


VALUE = st.text("ab1", min_size=1, max_size=2)
SETS = st.builds(
    lambda value, path, domain, end: f"session={value}{path}{domain}{end}",
    VALUE | st.just(""),
    st.sampled_from(["", "; Path=/", "; Path=/logout", "; Path=/other"]),
    st.sampled_from(["", "; Domain=app.example.com", "; Domain=example.com", "; Domain=evil.example"]),
    st.sampled_from(["", "; Max-Age=0", "; Max-Age=9", "; Expires=Thu, 01 Jan 1970 00:00:00 GMT"]),
)


@given(st.lists(SETS, max_size=5), VALUE)
def test_it_says_what_a_browser_ends_up_with(fields: list[str], carried: str) -> None:
    """A jar by RFC 6265 §5.3, told by name, Domain and Path, in the simplest words."""
    jar: dict[tuple[str, str], str] = {}
    touched = False
    for field in fields:
        value, *attributes = field.removeprefix("session=").split("; ")
        said = dict(attribute.split("=", 1) for attribute in attributes)
        domain, path = said.get("Domain", "app.example.com"), said.get("Path", "/")
        if domain == "evil.example" or path == "/other":
            continue
        is_gone = not value or said.get("Max-Age") == "0" or "Expires" in said
        touched = touched or is_gone
        jar[domain, path] = "" if is_gone else value
    left = {value for value in jar.values() if value}
    said_of_it = read(exchange(*fields, cookie=f"session={carried}"))
    if not jar or carried in left:
        assert said_of_it == []
    elif left:
        assert {sign.successor for sign in said_of_it if isinstance(sign, Replaced)} == set(map(cookie_digest, left))
    else:
        assert touched
        assert [type(sign) for sign in said_of_it] == [LoggedOut]


@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=60), max_size=4), st.text('s=;, "a', max_size=30))
def test_nothing_makes_it_stumble(fields: list[str], jar: str) -> None:
    read(exchange(*fields, *(f"session={field}" for field in fields), cookie=jar), LISTED)
