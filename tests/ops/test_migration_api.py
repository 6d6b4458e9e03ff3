"""POST, GET and DELETE of /v1/migrate, and what else of the control API knows of backends."""

from __future__ import annotations

import pytest

from tests.ops.api import Api
from tests.ops.rig import Rig, Scraped
from tests.support.waiting import eventually


async def test_a_migration_is_begun_watched_and_aborted(rig: Rig, api: Api) -> None:
    rig.connect("c1")
    rig.connect("c2", backend="green")
    nothing = {"total": 0, "closed": 0, "hinted": 0, "remaining": 0, "rate": 0.0, "eta": None}
    counts = {"connections": 1, "handshakes": 0, "requests": 0}
    idle = await api.ask("GET", "/v1/migrate")
    assert idle == {
        "state": "idle",
        "from": None,
        "to": None,
        "window": None,
        "startedAt": None,
        "detail": None,
        **nothing,
        "backends": [{"name": "default", "active": True, **counts}, {"name": "green", "active": False, **counts}],
    }
    begun = await api.ask("POST", "/v1/migrate", {"to": "green", "window": "10m"})
    assert begun == {
        **idle,
        "state": "migrating",
        "from": "default",
        "to": "green",
        "window": "600s",
        "startedAt": "1970-01-12T13:46:40.500Z",
        "total": 1,
        "remaining": 1,
        "eta": "600s",
        "backends": [{"name": "default", "active": False, **counts}, {"name": "green", "active": True, **counts}],
    }
    assert await api.ask("GET", "/v1/migrate") == begun
    aborted = await api.ask("DELETE", "/v1/migrate")
    assert (aborted["state"], aborted["detail"]) == ("aborted", "an operator has asked for it")
    assert [one["active"] for one in aborted["backends"]] == [True, False]
    assert await api.ask("DELETE", "/v1/migrate", status=409) == "no migration is under way"
    assert (await api.ask("POST", "/v1/migrate", {"to": "green"}))["window"] == "20s", "the guard's drain window"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (None, "to is missing"),
        ({"window": "30s"}, "to is missing"),
        ({"to": 1}, "to is a string"),
        ({"to": ""}, "to is a string"),
        ({"to": "blue"}, "there is no such backend; known here: default, green"),
        ({"to": "green", "window": "25h"}, "a day at most"),
        ({"to": "green", "windw": "1s"}, 'unknown member "windw": known are to, window'),
        ({"to": "gr\x1been"}, "no such backend"),
    ],
)
async def test_it_is_read_strictly(rig: Rig, api: Api, body: object, detail: str) -> None:
    assert detail in await api.ask("POST", "/v1/migrate", body, status=400)
    assert not rig.migrator.is_under_way


async def test_a_target_that_is_away_is_a_conflict(rig: Rig, api: Api) -> None:
    rig.backends.away["green"] = "green cannot be dialled: refused"
    assert await api.ask("POST", "/v1/migrate", {"to": "green"}, status=409) == "green cannot be dialled: refused"
    rig.drainer.start(1.0)
    assert "draining" in await api.ask("POST", "/v1/migrate", {"to": "green"}, status=409)
    for method in ("GET", "POST", "DELETE"):
        assert "unknown parameter" in await api.ask(method, "/v1/migrate?x=1", status=400)


async def test_connections_are_listed_by_backend(rig: Rig, api: Api) -> None:
    rig.connect("c1")
    rig.connect("c2", backend="green")
    for name, ids in (("default", ["c1"]), ("green", ["c2"]), ("nowhere", [])):
        listed = (await api.ask("GET", f"/v1/connections?backend={name}"))["connections"]
        assert [one["id"] for one in listed] == ids
        assert all(one["backend"] == name for one in listed)


async def test_it_is_measured(rig: Rig) -> None:
    rig.connect("c1")
    rig.backends.under_way["default"] = [2, 3]
    scraped = Scraped(rig.metrics)
    assert (scraped("backend_active", backend="default"), scraped("backend_active", backend="green")) == (1, 0)
    assert scraped("backend_connections", backend="default") == 1
    assert scraped("backend_handshakes", backend="default") == 2
    assert scraped("backend_requests", backend="default") == 3
    assert scraped("migrating") == 0
    await rig.migrator.start("green", 600.0)
    scraped = Scraped(rig.metrics)
    assert (scraped("migrating"), scraped("migration_paused"), scraped("migration_connections_remaining")) == (1, 0, 1)
    rig.drainer.start(600.0)
    await eventually(lambda: Scraped(rig.metrics)("migration_paused"))
    await rig.migrator.abort()
    assert Scraped(rig.metrics)("migrating") == 0
