"""`wsguard top` draws two looks at a guard; the guard itself is asked in tests/scenarios."""

from __future__ import annotations

from typing import Any

from wsguard.cli.top import Look, draw


def look(second: int, messages: int, *listed: dict[str, Any], **changed: Any) -> Look:
    """What a guard says at a second."""
    said = {
        "version": "1.0",
        "now": f"2026-01-31T12:00:{second:02}.000Z",
        "revision": "0a1b2c",
        "drain": {"state": "serving"},
        "migration": {"state": "idle", "backends": [{"name": "app", "active": True, "connections": 5}]},
        "connections": [{"policy": "chat", "value": 2}, {"policy": "feed", "value": 3}],
        "streams": [{"stream": "WebSocket", "value": 5}, {"stream": "LongPolling", "value": 0}],
        "handshakes": [{"policy": "chat", "result": "refused", "reason": "origin-denied", "value": second}],
        "closed": [{"policy": "chat", "reason": "client-closed", "value": 7}],
        "messages": [{"direction": "client_to_backend", "value": messages}],
        "bytes": [{"direction": "client_to_backend", "value": messages * 512}],
    }
    return {**said, **changed, "listed": listed}


def one(name: str, messages: int, subject: str | None = "ann") -> dict[str, Any]:
    passed = {"clientToBackend": messages, "backendToClient": 0}
    where = {"clientIP": "::1", "path": "/ws", "openedAt": "2026-01-31T12:00:11.000Z"}
    return {"id": name, "policy": "chat", "subject": subject, "messages": passed, **where}


def test_rates_are_differences() -> None:
    before = look(10, 100, one("c1", 50), one("c2", 50))
    lines = list(draw(before, look(12, 120, one("c1", 52), one("c2", 66), one("c3", 2, None))))
    assert lines[0] == "wsguard 1.0  2026-01-31T12:00:12.000Z  policies 0a1b2c  serving"
    assert lines[1] == "5 connections  1.0 handshakes/s  10.0 messages/s  5.0 KiB/s"
    assert lines[3:5] == ["REFUSED            ENDED", "origin-denied  12  client-closed  7"]
    assert [line.split() for line in lines[7:]] == [
        ["c2", "chat", "ann", "::1", "/ws", "8.0"],
        ["c1", "chat", "ann", "::1", "/ws", "1.0"],
        ["c3", "chat", "-", "::1", "/ws", "1.0"],
    ]


def test_of_one_that_has_moved_onto_the_page_no_rate_is_known() -> None:
    old = {**one("c1", 9_000), "openedAt": "2026-01-31T11:00:00.000Z"}
    assert not [line for line in draw(look(10, 0), look(12, 0, old)) if line.startswith("c1")]


def test_a_drain_shows_what_is_left() -> None:
    drain = {"state": "draining", "total": 6, "closed": 2, "rate": 0.5, "eta": "8s"}
    assert f"drain: [{'#' * 10}{'.' * 20}] 2 of 6 closed, 0.5/s, 8s to go" in list(
        draw(look(1, 0), look(2, 0, drain=drain))
    )


def test_several_backends_show_what_each_has() -> None:
    """And how far a migration is, pauses included."""
    blue, green = ({"name": name, "active": name == "green", "connections": 3} for name in ("blue", "green"))
    idle = {"state": "idle", "backends": [blue, green]}
    assert "backends: blue 3  green* 3" in list(draw(look(1, 0), look(2, 0, migration=idle)))
    paused = {**idle, "state": "paused", "total": 6, "closed": 3, "rate": 0.5, "eta": None}
    words = f"backends: blue 3  green* 3  paused: [{'#' * 15}{'.' * 15}] 3 of 6 closed, 0.5/s, paused"
    assert words in list(draw(look(1, 0), look(2, 0, migration=paused)))


def test_a_guard_that_started_anew_has_no_negative_rates() -> None:
    assert "0.0 messages/s" in list(draw(look(1, 1000), look(2, 0)))[1]


def test_what_would_not_print_is_escaped_and_what_is_long_is_cut() -> None:
    text = "\n".join(draw(look(1, 0), look(2, 0, one("c1", 0, "\x1b[31mann" + "n" * 500))))
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) < 200


def test_what_is_connected_is_told_apart_where_not_all_are_websockets() -> None:
    kinds = [{"stream": "WebSocket", "value": 3}, {"stream": "ServerSentEvents", "value": 2}]
    assert "3 WebSocket  2 ServerSentEvents" in list(draw(look(1, 0), look(2, 0, streams=kinds)))
    assert not any("WebSocket" in line for line in draw(look(1, 0), look(2, 0)))
