"""The control API over HTTP, as the socket serves it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer

from tests.ops.api import Api
from tests.ops.rig import Rig
from tests.sessions.fakes import FakeLink, identity, link_of
from wsguard.ops.control import control_app
from wsguard.ops.redact import digest
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.connection import Traffic
from wsguard.sessions.denylist import DenyList
from wsguard.sessions.identity import cookie_digest


async def test_a_connection_is_shown_as_the_contract_names_it(rig: Rig, api: Api) -> None:
    link = FakeLink(Traffic(1, 20, 3, 400))
    rig.connect("c1", identity("alice", sid="s1", jti="j1"), origin="https://app.test/?t=secret", link=link)
    answer = await api.ask("GET", "/v1/connections")
    assert answer == {
        "connections": [
            {
                "id": "c1",
                "stream": "WebSocket",
                "policy": "chat",
                "issuer": "https://idp.test",
                "subject": "alice",
                "sid": digest("s1"),
                "jti": digest("j1"),
                "origin": "https://app.test/",
                "clientIP": "192.0.2.7",
                "path": "/ws",
                "backend": "default",
                "openedAt": "1970-01-01T00:16:40.000Z",
                "expiresAt": "1970-01-01T01:16:40.000Z",
                "messages": {"clientToBackend": 1, "backendToClient": 3},
                "bytes": {"clientToBackend": 20, "backendToClient": 400},
                "state": "open",
            }
        ],
        "cursor": None,
    }


async def test_an_anonymous_connection_has_no_identity_to_show(rig: Rig, api: Api) -> None:
    rig.connect("c1", origin=None, path="/a\x1b[31m\udcff")
    (shown,) = (await api.ask("GET", "/v1/connections"))["connections"]
    assert shown["subject"] is shown["sid"] is shown["origin"] is shown["expiresAt"] is None
    assert shown["path"] == "/a\\x1b[31m\\udcff"


async def test_filters_narrow(rig: Rig, api: Api) -> None:
    rig.connect("a1", identity("alice", sid="s1"))
    rig.connect("a2", identity("alice", sid="s2"), policy="ops")
    rig.connect("b1", identity("bob", sid="s3"))

    async def ids(query: str) -> list[str]:
        return [one["id"] for one in (await api.ask("GET", f"/v1/connections?{query}"))["connections"]]

    assert await ids("subject=alice") == ["a1", "a2"]
    assert await ids("subject=alice&policy=ops") == ["a2"]
    assert await ids("sid=s3") == ["b1"]
    assert await ids(f"sid={digest('s3')}") == ["b1"], "by the digest that the list shows"
    assert await ids(f"sid={digest('gone')}") == []
    assert await ids("subject=nobody") == []


async def test_pages_show_each_that_stays_once(rig: Rig, api: Api) -> None:
    for number in range(250):
        rig.connect(f"c{number:03}")
    first = await api.ask("GET", "/v1/connections")
    assert len(first["connections"]) == 100
    rig.registry.remove(first["cursor"])
    rig.connect("c099a")
    second = await api.ask("GET", f"/v1/connections?limit=1000&cursor={first['cursor']}")
    assert [one["id"] for one in second["connections"]][:2] == ["c099a", "c100"]
    assert second["cursor"] is None


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("limit=0", "limit is a number from 1 to 1000"),
        ("limit=1001", "limit is a number from 1 to 1000"),
        ("limit=-1", "limit is a number from 1 to 1000"),
        ("limit=%D9%A3", "limit is a number from 1 to 1000"),
        ("limit=9999999999999999999999", "limit is a number from 1 to 1000"),
        ("limit=", "limit is a number from 1 to 1000"),
        ("subjct=a", 'unknown parameter "subjct": known are backend, cursor, limit, policy, sid, subject'),
        ("%1B[31m=a", 'unknown parameter "\\x1b[31m"'),
        ("sid=a&sid=b", "the parameter sid is given twice"),
    ],
)
async def test_a_list_is_asked_for_strictly(api: Api, query: str, detail: str) -> None:
    assert detail in await api.ask("GET", f"/v1/connections?{query}", status=400)


async def test_an_operator_ends_one_connection(rig: Rig, api: Api) -> None:
    one, other = rig.connect("c1"), rig.connect("c2")
    assert await api.ask("DELETE", "/v1/connections/c1?reason=abuse") == {"closed": 1}
    assert link_of(one).cuts == [(CloseReason.TERMINATED, "abuse")]
    assert link_of(other).cuts == []
    assert "no connection" in await api.ask("DELETE", "/v1/connections/c9", status=404)
    assert "200" in await api.ask("DELETE", f"/v1/connections/c1?reason={'x' * 201}", status=400)
    assert "unknown" in await api.ask("DELETE", "/v1/connections/c1?code=4999", status=400)


async def test_a_session_is_logged_out_now_and_later(rig: Rig, api: Api) -> None:
    one = rig.connect("c1", identity("alice", sid="s1"))
    other = rig.connect("c2", identity("alice", sid="s2"))
    assert await api.ask("POST", "/v1/logout", {"sid": "s1"}) == {"closed": 1}
    assert link_of(one).reason is CloseReason.LOGGED_OUT
    assert link_of(other).reason is None
    assert rig.denylist.denies(identity("alice", sid="s1"), rig.clock.now)
    (event,) = rig.events("logout")
    assert event["sid"] == digest("s1")
    assert event["closed"] == 1


async def test_a_token_is_logged_out_even_if_nobody_is_connected_with_it(rig: Rig, api: Api) -> None:
    assert await api.ask("POST", "/v1/logout", {"jti": "j1", "issuer": "https://idp.test"}) == {"closed": 0}
    assert rig.denylist.denies(identity("alice", jti="j1"), rig.clock.now)


async def test_a_subject_is_logged_out_of_what_was_issued_before_the_next_second(rig: Rig, api: Api) -> None:
    now = rig.clock.now = 1_000_000.5
    before = rig.connect("before", identity("alice", issued_at=1_000_000.0))
    unsaid = rig.connect("unsaid", identity("alice", issued_at=None))
    after = rig.connect("after", identity("alice", issued_at=1_000_001.0))
    bob = rig.connect("bob", identity("bob", issued_at=1.0))
    assert await api.ask("POST", "/v1/logout", {"subject": "alice"}) == {"closed": 2}
    assert link_of(before).reason is link_of(unsaid).reason is CloseReason.LOGGED_OUT
    assert link_of(after).reason is link_of(bob).reason is None
    assert rig.denylist.denies(identity("alice", issued_at=1_000_000.9), now)
    assert not rig.denylist.denies(identity("alice", issued_at=1_000_001.0), now)


async def test_the_moment_of_a_subjects_logout_can_be_given(rig: Rig, api: Api) -> None:
    early = rig.connect("early", identity("alice", issued_at=100.0))
    late = rig.connect("late", identity("alice", issued_at=200.0))
    assert await api.ask("POST", "/v1/logout", {"subject": "alice", "issuedBefore": 150}) == {"closed": 1}
    assert link_of(early).reason is CloseReason.LOGGED_OUT
    assert link_of(late).reason is None


async def test_on_the_very_second_the_next_one_counts(rig: Rig, api: Api) -> None:
    rig.clock.now = 1_000_000.0
    just_now = rig.connect("c1", identity("alice", issued_at=1_000_000.0))
    assert await api.ask("POST", "/v1/logout", {"subject": "alice"}) == {"closed": 1}
    assert link_of(just_now).reason is CloseReason.LOGGED_OUT


async def test_with_several_issuers_one_must_be_named(rig: Rig, api: Api) -> None:
    rig.issuers.append("https://other.test")
    ours = rig.connect("c1", identity("alice"))
    theirs = rig.connect("c2", identity("alice", "https://other.test"))
    detail = await api.ask("POST", "/v1/logout", {"subject": "alice"}, status=400)
    assert "https://idp.test, https://other.test" in detail
    assert await api.ask("POST", "/v1/logout", {"subject": "alice", "issuer": "https://idp.test"}) == {"closed": 1}
    assert link_of(ours).reason is CloseReason.LOGGED_OUT
    assert link_of(theirs).reason is None


async def test_an_issuer_that_nobody_trusts_is_a_slip(rig: Rig, api: Api) -> None:
    body = {"subject": "alice", "issuer": "https://old.test"}
    assert "no policy trusts" in await api.ask("POST", "/v1/logout", body, status=400)
    rig.connect("c1", identity("alice", "https://old.test"))  # admitted before a reload took its issuer away
    assert await api.ask("POST", "/v1/logout", body) == {"closed": 1}


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "exactly one of sid, subject, jti and cookie"),
        ("", "exactly one of sid, subject, jti and cookie"),
        ({"sid": "a", "jti": "b"}, "exactly one of sid, subject, jti and cookie"),
        ({"cookie": ""}, "cookie is a string, neither empty"),
        ({"cookie": "v", "issuedBefore": 1}, "issuedBefore goes with subject"),
        ({"sid": ""}, "sid is a string, neither empty"),
        ({"sid": 1}, "sid is a string, neither empty"),
        ({"sid": None}, "sid is a string, neither empty"),
        ({"subject": ["a"]}, "subject is a string, neither empty"),
        ({"sid": "x" * 8193}, "longer than 8192"),
        ({"sid": "a", "issuer": 3}, "issuer is a string, neither empty"),
        ({"sid": "a", "who": "b"}, 'unknown member "who"'),
        ({"sid": "sha256:" + "0" * 16}, "give the sid itself"),
        ({"sid": "a", "issuedBefore": 1}, "issuedBefore goes with subject"),
        ({"subject": "a", "issuedBefore": "now"}, "number of seconds"),
        ({"subject": "a", "issuedBefore": True}, "number of seconds"),
        ({"subject": "a", "issuedBefore": -1}, "number of seconds"),
        ('{"subject": "a", "issuedBefore": 1e999}', "a number is out of range"),
        ({"subject": "a", "issuedBefore": 1_700_000_000_000}, "not of milliseconds"),
        ('{"subject": "a", "issuedBefore": NaN}', "not JSON"),
        ('{"sid": "a", "sid": "b"}', "a name occurs twice"),
        ("sid=a", "not JSON"),
        ('{"sid": "\\ud800"}', "a lone surrogate"),
        (b"\xff", "not UTF-8"),
        ("[" * 16_000, "nested too deeply"),
        (["a"], "not a JSON object"),
        ('"a"', "not a JSON object"),
    ],
)
async def test_a_logout_is_read_strictly(rig: Rig, api: Api, body: object, detail: str) -> None:
    alice = rig.connect("c1", identity("alice", sid="a"))
    assert detail in await api.ask("POST", "/v1/logout", body, status=400)
    assert link_of(alice).reason is None
    assert len(rig.denylist) == 0


async def test_a_body_has_a_bound(api: Api) -> None:
    await api.ask("POST", "/v1/logout", "x" * 20_000, status=413)


async def test_a_session_cookie_is_logged_out_by_its_value(rig: Rig, api: Api) -> None:
    alice = rig.connect("c1", replace(identity("alice"), cookie=cookie_digest("v1")))
    bob = rig.connect("c2", replace(identity("bob"), cookie=cookie_digest("v2")))
    rig.issuers = ["https://idp.test", "https://other.test"]
    assert await api.ask("POST", "/v1/logout", {"cookie": "v1"}) == {"closed": 1}
    assert link_of(alice).reason is CloseReason.LOGGED_OUT
    assert link_of(bob).reason is None
    assert "v1" not in json.dumps(rig.events("logout"))


async def test_a_logout_that_is_not_stored_yet_is_done_here_and_says_so(rig: Rig, api: Api) -> None:
    alice = rig.connect("c1", identity("alice"))
    rig.stores = False
    assert await api.ask("POST", "/v1/logout", {"subject": "alice"}, status=202) == {"closed": 1, "stored": False}
    assert link_of(alice).reason is CloseReason.LOGGED_OUT


async def test_a_logout_that_cannot_be_remembered_is_an_error_in_the_log(rig: Rig) -> None:
    rig.denylist = DenyList(max_entries=0)
    full = replace(rig.control, denylist=rig.denylist)
    async with TestClient(TestServer(control_app(full))) as client:
        assert await Api(client).ask("POST", "/v1/logout", {"sid": "s1"}) == {"closed": 0}
    assert rig.events("deny_list_overflowed")[0]["level"] == "error"


async def test_one_that_cannot_be_cut_does_not_save_the_others(rig: Rig, api: Api) -> None:
    class Broken(FakeLink):
        def cut(self, reason: CloseReason, detail: str = "") -> None:
            raise RuntimeError("secret")

    rig.connect("c1", identity("alice"), link=Broken())
    other = rig.connect("c2", identity("alice"))
    assert "secret" not in await api.ask("POST", "/v1/logout", {"subject": "alice"}, status=500)
    assert link_of(other).reason is CloseReason.LOGGED_OUT
    assert rig.events("fault")[0]["exception"] == "ExceptionGroup"


async def test_a_drain_is_begun_watched_and_taken_back(rig: Rig, api: Api) -> None:
    rig.connect("c1")
    nothing = {"total": 0, "closed": 0, "hinted": 0, "rate": 0.0, "eta": None}
    serving = {"state": "serving", "window": None, "startedAt": None, "remaining": 1, **nothing}
    assert await api.ask("GET", "/v1/drain") == serving
    begun = await api.ask("POST", "/v1/drain", {"window": "1h30m"})
    assert begun == {
        "state": "draining",
        "window": "5400s",
        "startedAt": "1970-01-12T13:46:40.500Z",
        "remaining": 1,
        **nothing,
        "total": 1,
        "eta": "5400s",
    }
    assert await api.ask("GET", "/v1/drain") == begun
    assert await api.ask("DELETE", "/v1/drain") == serving
    assert (await api.ask("POST", "/v1/drain"))["window"] == "20s", "the guard's own window"
    assert (await api.ask("POST", "/v1/drain", {"window": "1500ms"}))["window"] == "1500ms"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"window": "soon"}, "window: expected a duration"),
        ({"window": 30}, 'such as "30s"'),
        ({"window": "25h"}, "a day at most"),
        ({"windw": "30s"}, 'unknown member "windw"'),
    ],
)
async def test_a_drain_is_read_strictly(rig: Rig, api: Api, body: object, detail: str) -> None:
    assert detail in await api.ask("POST", "/v1/drain", body, status=400)
    assert not rig.drainer.is_draining


async def test_the_drain_of_an_ending_guard_is_not_taken_back(rig: Rig, api: Api) -> None:
    await rig.drainer.finish(0.0)
    assert (await api.ask("GET", "/v1/drain"))["state"] == "drained"
    assert "cannot be taken back" in await api.ask("DELETE", "/v1/drain", status=409)


async def test_what_is_loaded_is_told_with_the_last_error(rig: Rig, api: Api) -> None:
    answer = await api.ask("GET", "/v1/policies")
    assert answer == {
        "revision": "0a1b2c",
        "loadedAt": "1970-01-01T00:16:40.000Z",
        "policies": [{"name": "chat", "file": "policies/chat.yaml", "line": 3}],
        "lastError": None,
        "lastErrorAt": None,
    }


async def test_unknown_paths_and_methods_are_problems(api: Api) -> None:
    await api.ask("GET", "/v1/nothing", status=404)
    await api.ask("PUT", "/v1/drain", status=405)
    for path in ("/v1/drain?x=1", "/v1/policies?x=1"):
        assert "unknown parameter" in await api.ask("GET", path, status=400)
