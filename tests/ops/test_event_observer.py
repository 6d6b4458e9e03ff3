from __future__ import annotations

from tests.ops.rig import Rig, Scraped
from wsguard.ops.event_observer import EventObserver
from wsguard.ops.redact import digest
from wsguard.sessions.events import SessionEnd
from wsguard.sessions.identity import cookie_digest
from wsguard.sessions.logout import Logout


async def test_an_event_is_a_count_and_a_line_without_the_session(rig: Rig) -> None:
    observer = EventObserver(rig.log, rig.metrics)
    observer.event("RedisStream", "applied")
    observer.applied("RedisStream", SessionEnd("7-0", Logout("sid", "s1", None, 5.0), 1_000.0), 2, 0.25)
    scraped = Scraped(rig.metrics)
    assert scraped("session_events_total", source="RedisStream", result="applied") == 1
    assert scraped("session_event_lag_seconds_count") == 1
    (event,) = rig.events("session_ended")
    assert event["sid"] == digest("s1")
    assert event["closed"] == 2
    assert "issued_before" not in event


async def test_what_is_read_back_has_no_lag_and_no_line_of_its_own(rig: Rig) -> None:
    observer = EventObserver(rig.log, rig.metrics)
    observer.applied("RedisStream", SessionEnd("7-0", Logout("subject", "alice", None, 5.0), 1_000.0), 0, None)
    assert Scraped(rig.metrics)("session_event_lag_seconds_count") == 0
    (event,) = rig.events("session_ended")
    assert event["level"] == "debug"
    assert event["subject"] == "alice"


async def test_a_stream_that_goes_is_a_warning_and_a_gap_an_error(rig: Rig) -> None:
    observer = EventObserver(rig.log, rig.metrics)
    observer.source_up("NATSJetStream", False, "ConnectionRefusedError")
    observer.waiting("NATSJetStream", 3)
    observer.gap("NATSJetStream", "gone", 5)
    observer.skipped("NATSJetStream", "7", "it is not JSON")
    observer.lost("NATSJetStream", 2)
    scraped = Scraped(rig.metrics)
    assert scraped("session_event_source_up", source="NATSJetStream") == 0
    assert scraped("session_events_waiting", source="NATSJetStream") == 3
    levels = {event["event"]: event["level"] for event in rig.lines.events()}
    assert levels == {
        "session_event_source": "warning",
        "session_event_gap": "error",
        "session_event_skipped": "warning",
        "session_events_lost": "error",
    }


async def test_a_detected_logout_says_what_was_seen_and_not_the_cookie(rig: Rig) -> None:
    cookie = cookie_digest("v1")
    EventObserver(rig.log, rig.metrics).detected("chat", cookie, "POST /log\nout was answered 302")
    (event,) = rig.events("logout_detected")
    assert (event["policy"], event["cookie"], event["level"]) == ("chat", digest(cookie), "info")
    assert event["why"] == "POST /log\\nout was answered 302"


async def test_counts_that_are_shared_are_a_line_and_poison_is_one_line(rig: Rig) -> None:
    observer = EventObserver(rig.log, rig.metrics)
    observer.counts_shared("RedisStream", True, "")
    for _ in range(3):
        observer.counts_told("RedisStream", "ignored")
        observer.counts_ignored("RedisStream", "it is not JSON")
    observer.counting("RedisStream", 2, 7)
    scraped = Scraped(rig.metrics)
    assert scraped("shared_counts_up", source="RedisStream") == 1
    assert scraped("shared_counts_messages_total", source="RedisStream", result="ignored") == 3
    assert scraped("shared_counts_replicas", source="RedisStream") == 2
    assert scraped("shared_counts_left_out", source="RedisStream") == 7
    observer.counts_shared("RedisStream", False, "ConnectionError")
    assert Scraped(rig.metrics)("shared_counts_up", source="RedisStream") == 0
    levels = [(event["event"], event["level"]) for event in rig.lines.events()]
    assert levels == [("shared_counts", "info"), ("shared_counts_ignored", "warning"), ("shared_counts", "warning")]
