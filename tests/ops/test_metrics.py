from __future__ import annotations

from tests.ops.records import decided, ended
from tests.ops.rig import Rig, Scraped
from tests.sessions.fakes import FakeLink, connection, identity
from wsguard import __version__
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.connection import Traffic


async def test_handshakes_by_policy_result_and_reason(rig: Rig) -> None:
    rig.metrics.decided(decided())
    rig.metrics.decided(decided("refused", CloseReason.ORIGIN_DENIED))
    rig.metrics.decided(decided("refused", CloseReason.NO_POLICY, policy=None))
    scraped = Scraped(rig.metrics)
    assert scraped("handshakes_total", policy="chat", result="admitted", reason="") == 1
    assert scraped("handshakes_total", policy="chat", result="refused", reason="origin-denied") == 1
    assert scraped("handshakes_total", policy="", result="refused", reason="no-policy") == 1
    assert scraped("handshake_duration_seconds_count") == 3


async def test_ends_by_policy_initiator_reason_and_code(rig: Rig) -> None:
    rig.metrics.ended(ended())
    rig.metrics.ended(ended(CloseReason.LOGGED_OUT, "guard", 4999))
    rig.metrics.ended(ended(CloseReason.CLIENT_LOST, "client", 0))
    scraped = Scraped(rig.metrics)
    labels = {"policy": "chat", "initiator": "client", "reason": "client-closed", "code": "1000"}
    assert scraped("connections_closed_total", **labels) == 1
    labels = {"policy": "chat", "initiator": "guard", "reason": "logged-out", "code": "4999"}
    assert scraped("connections_closed_total", **labels) == 1
    assert scraped("connection_duration_seconds_sum") == 37.5


async def test_a_peer_cannot_make_up_series(rig: Rig) -> None:
    for code in range(65_536):
        rig.metrics.ended(ended(code=code))
    samples = [s for s in Scraped(rig.metrics).samples if s.name == "wsguard_connections_closed_total"]
    assert len(samples) < 90
    assert sum(sample.value for sample in samples) == 65_536
    assert {sample.labels["code"] for sample in samples} >= {"0", "1000", "1006", "3xxx", "4xxx"}


async def test_what_lives_is_read_at_the_scrape_and_what_has_passed_is_kept(rig: Rig) -> None:
    link = FakeLink(Traffic(3, 30, 4, 400))
    rig.registry.add(connection("c1", link=link))
    rig.metrics.ended(ended())
    scraped = Scraped(rig.metrics)
    assert scraped("connections", policy="chat") == 1
    assert scraped("messages_total", direction="client_to_backend") == 4
    assert scraped("messages_total", direction="backend_to_client") == 6
    assert scraped("transferred_bytes_total", direction="client_to_backend") == 40
    assert scraped("transferred_bytes_total", direction="backend_to_client") == 600
    rig.registry.remove("c1")
    rig.metrics.ended(ended(traffic=link.traffic()))
    scraped = Scraped(rig.metrics)
    assert scraped("connections", policy="chat") == 0, "a policy without connections reads 0 and does not vanish"
    assert scraped("messages_total", direction="client_to_backend") == 4
    assert scraped("transferred_bytes_total", direction="backend_to_client") == 600


async def test_a_drain_shows(rig: Rig) -> None:
    rig.connect("c1")
    assert Scraped(rig.metrics)("draining") == 0
    assert Scraped(rig.metrics)("drain_connections_remaining") == 0
    rig.drainer.start(3_600.0)
    assert Scraped(rig.metrics)("draining") == 1
    assert Scraped(rig.metrics)("drain_connections_remaining") == 1
    rig.drainer.cancel()
    assert Scraped(rig.metrics)("draining") == 0


async def test_reloads_fetches_lag_and_refusals(rig: Rig) -> None:
    rig.metrics.policies_loaded(True)
    assert Scraped(rig.metrics)("policy_last_reload_successful") == 1
    rig.clock.now += 60
    rig.metrics.policies_loaded(False)
    rig.metrics.jwks_fetched("corp", "success")
    rig.metrics.identity_asked("opaque", "unavailable", 0.3)
    rig.metrics.loop_lagged(0.002)
    rig.metrics.lingering(7)
    rig.metrics.lingered("acknowledged")
    rig.metrics.lingering_exceeded()
    scraped = Scraped(rig.metrics)
    assert scraped("policy_reloads_total", result="success") == 1
    assert scraped("policy_reloads_total", result="failure") == 1
    assert scraped("policy_last_reload_successful") == 0
    assert scraped("policy_last_reload_success_timestamp_seconds") == rig.clock.now - 60
    assert scraped("jwks_fetches_total", provider="corp", result="success") == 1
    assert scraped("identity_requests_total", provider="opaque", result="unavailable") == 1
    assert scraped("identity_request_duration_seconds_sum") == 0.3
    assert scraped("event_loop_lag_seconds_count") == 1
    assert scraped("refusals_lingering") == 7
    assert scraped("refusals_lingered_total", delivery="acknowledged") == 1
    assert scraped("refusals_lingering_exceeded_total") == 1
    assert scraped("build_info", version=__version__) == 1
    assert scraped("log_lines_dropped_total") == 0


async def test_the_deny_list_shows(rig: Rig) -> None:
    rig.denylist.deny_sid(None, "s1", rig.clock.now)
    assert Scraped(rig.metrics)("deny_list_entries") == 1
    assert Scraped(rig.metrics)("deny_list_overflowed") == 0


async def test_no_sample_names_a_session_an_address_or_a_path(rig: Rig) -> None:
    rig.connect("c1", identity("alice", sid="s1", jti="j1"))
    rig.metrics.decided(decided())
    rig.metrics.ended(ended())
    text = rig.metrics.text()[0].decode()
    for word in ("alice", "s1", "j1", "192.0.2.7", "/ws", "app.test", "c1"):
        assert f'"{word}"' not in text
    assert "_created" not in text


async def test_openmetrics_has_the_connection_and_the_trace_as_exemplars(rig: Rig) -> None:
    rig.metrics.decided(decided()._replace(trace_id="0af7651916cd43dd8448eb211c80319c"))
    text, media_type = rig.metrics.text("application/openmetrics-text; version=1.0.0")
    assert media_type.startswith("application/openmetrics-text")
    (line,) = [line for line in text.decode().splitlines() if line.startswith("wsguard_handshakes_total{")]
    assert '# {connection_id="c1",trace_id="0af7651916cd43dd8448eb211c80319c"} 1.0' in line
