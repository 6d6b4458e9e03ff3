from __future__ import annotations

from tests.ops.records import decided, ended
from tests.ops.rig import Rig, Scraped
from tests.sessions.fakes import identity
from wsguard.ops.observer import Observer
from wsguard.ops.redact import digest
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.connection import Traffic
from wsguard.sessions.records import Renewed


async def test_a_decision_is_one_line_and_one_count(rig: Rig) -> None:
    Observer(rig.log, rig.metrics).decided(decided("refused", CloseReason.ORIGIN_DENIED))
    assert Scraped(rig.metrics)("handshakes_total", policy="chat", result="refused", reason="origin-denied") == 1
    (event,) = rig.events("handshake")
    del event["time"]
    assert event == {
        "level": "info",
        "event": "handshake",
        "connection_id": "c1",
        "policy": "chat",
        "result": "refused",
        "reason": "origin-denied",
        "code": 4403,
        "origin": "https://app.test",
        "client_ip": "192.0.2.7",
        "scheme": "https",
        "host": "app.test",
        "path": "/ws",
        "provider": "corp",
        "issuer": "https://idp.test",
        "subject": "alice",
        "source": "cookie:session",
        "sid": digest("s1"),
        "duration": 0.003,
    }


async def test_an_end_is_one_line_and_one_count(rig: Rig) -> None:
    Observer(rig.log, rig.metrics).ended(ended(CloseReason.SESSION_EXPIRED, "guard", 4440, Traffic(1, 10, 2, 200)))
    labels = {"policy": "chat", "initiator": "guard", "reason": "session-expired", "code": "4440"}
    assert Scraped(rig.metrics)("connections_closed_total", **labels) == 1
    (event,) = rig.events("connection_closed")
    expected = {
        "initiator": "guard",
        "reason": "session-expired",
        "code": 4440,
        "phase": "open",
        "delivery": "acknowledged",
        "sid": digest("s1"),
        "jti": digest("j1"),
        "duration": 12.5,
        "messages_from_client": 1,
        "bytes_from_client": 10,
        "messages_from_backend": 2,
        "bytes_from_backend": 200,
    }
    assert expected.items() <= event.items()


async def test_a_fault_is_an_error_that_says_where(rig: Rig) -> None:
    observer = Observer(rig.log, rig.metrics)
    observer.decided(decided("refused", CloseReason.GUARD_FAULT))
    try:
        raise KeyError("session=secret")
    except KeyError as error:
        observer.fault("judge", error)
    decision, fault = rig.lines.events()
    assert decision["level"] == fault["level"] == "error"
    assert (fault["event"], fault["where"], fault["exception"]) == ("fault", "judge", "KeyError")
    assert "secret" not in str(fault)


async def test_what_else_the_proxy_notices(rig: Rig) -> None:
    observer = Observer(rig.log, rig.metrics)
    observer.spared("c1", "chat", CloseReason.SESSION_EXPIRED, "the policy only audits")
    observer.turned_away("192.0.2.7", 426, "no Sec-WebSocket-Version")
    observer.lingering(2)
    observer.lingered("undelivered")
    observer.lingering_exceeded()
    scraped = Scraped(rig.metrics)
    assert scraped("refusals_lingering") == 2
    assert scraped("refusals_lingered_total", delivery="undelivered") == 1
    assert scraped("refusals_lingering_exceeded_total") == 1
    spared, turned_away = rig.lines.events()
    assert (spared["event"], spared["reason"]) == ("cut_spared", "session-expired")
    assert (turned_away["event"], turned_away["status"]) == ("request_turned_away", 426)


async def test_a_renewal_is_one_line_and_counts_connections(rig: Rig) -> None:
    who = identity(sid="s1", jti="j2")
    Observer(rig.log, rig.metrics).renewed(Renewed("chat", "renew", 3, 1, who, "192.0.2.7"))
    scraped = Scraped(rig.metrics)
    assert scraped("session_renewals_total", policy="chat", result="renewed") == 3
    assert scraped("session_renewals_total", policy="chat", result="cut") == 1
    (event,) = rig.events("session_renewed")
    expected = {"by": "renew", "connections": 3, "cut": 1, "client_ip": "192.0.2.7", "jti": digest("j2")}
    assert expected.items() <= event.items()
