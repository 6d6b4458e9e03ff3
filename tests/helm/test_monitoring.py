"""Alerts and dashboard ask for metrics, labels and reasons that there are, and each alert fires when it should."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from tests.helm.charts import ALL_OF_IT, Manifest, one, run, template
from tests.ops.rig import Rig
from tests.support.programs import ROOT, need
from wsguard.protocol.reasons import CloseReason

ALERTS = ROOT / "helm/wsguard/files/alerts.yaml"
RULES = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"][0]["rules"]
DASHBOARD = json.loads((ROOT / "helm/wsguard/files/dashboard.json").read_text("utf-8"))
OF_PROMETHEUS = {"namespace", "pod", "wsguard_dev_guard", "le"}
"""Labels that a scrape adds, and that of a histogram's buckets."""


@pytest.fixture
async def known() -> dict[str, set[str]]:
    """Every series of the guard by its name, with the labels of its own."""
    rig = Rig()
    rig.connect("c1")
    found: dict[str, set[str]] = {}
    for collector in rig.metrics._collected._collector_to_names:
        for family in collector.collect():
            labels = set(collector._labelnames) if isinstance(collector, MetricWrapperBase) else set()
            for sample in family.samples:
                labels |= sample.labels.keys()
            names = {sample.name for sample in family.samples} or {family.name}
            if family.type == "counter":
                names |= {f"{family.name}_total"}
            if family.type == "histogram":
                names |= {f"{family.name}_{part}" for part in ("bucket", "sum", "count")}
            found |= dict.fromkeys(names, labels)
    rig.log.close()
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """Where it stands, and the PromQL, of every alert and panel."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"][1:]:
        yield variable["label"], re.sub(r"label_values\((.*), (\w+)\)", r"count by (\2) (\1)", variable["query"])


@pytest.mark.parametrize(("where", "expr"), list(expressions()))
async def test_what_is_asked_for_is_there(where: str, expr: str, known: dict[str, set[str]]) -> None:
    expr = expr.replace("wsguard_build_info,", "wsguard_build_info{},")
    asked = re.findall(
        r"\b((?:wsguard|process)_\w+)(?:\{([^}]*)\})?", re.sub(r'wsguard_dev_guard\b|by \(.*?\)|"', "", expr)
    )
    assert asked
    for name, matchers in asked:
        assert name in known, f"{where}: there is no {name}"
        labels = set(re.findall(r"(\w+)(?:=~|!=|=)", matchers)) | grouped(expr)
        assert labels <= known[name] | OF_PROMETHEUS, f"{where}: {name} has no {labels - known[name]}"
    for reasons in re.findall(r'reason=~?"([^"]*)"', expr):
        assert set(reasons.split("|")) <= {reason.token for reason in CloseReason}


def grouped(expr: str) -> set[str]:
    """The labels that sums are by."""
    return {label for group in re.findall(r"by \((.*?)\)", expr) for label in group.split(", ")}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_tells_a_tired_person_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["annotations"].keys() == {"summary", "description", "action"}
    assert all(len(text) > 20 and not text.endswith(":") for text in rule["annotations"].values())
    assert rule["labels"]["severity"] in {"critical", "warning"}


def series(name: str, values: str, **labels: str) -> dict[str, str]:
    """One series of this release's only pod, a value a minute in promtool's notation."""
    matchers = {"wsguard_dev_guard": "RELEASE", "namespace": "NAMESPACE", "pod": "p", **labels}
    return {
        "series": f"{name}{{{', '.join(f'{key}={json.dumps(value)}' for key, value in matchers.items())}}}",
        "values": values,
    }


def handshakes(reason: str, values: str) -> dict[str, str]:
    return series("wsguard_handshakes_total", values, policy="chat", result="refused", reason=reason)


UP = series("wsguard_build_info", "1x60", version="1")
FIRES = {
    "WsguardAbsent": [series("up", "0x60")],
    "WsguardPolicyRefused": [UP, series("wsguard_policy_last_reload_successful", "1x10 0x50")],
    "WsguardTokensRefused": [UP, series("wsguard_deny_list_overflowed", "0x10 1x50")],
    "WsguardSessionEventsUnheard": [UP, series("wsguard_session_event_source_up", "0x60", source="RedisStream")],
    "WsguardSessionEventsLost": [UP, series("wsguard_session_events_total", "_x50 1x10", source="s", result="gap")],
    "WsguardIdentityUnavailable": [UP, handshakes("identity-unavailable", "0+6x60")],
    "WsguardBackendFails": [UP, handshakes("", "0+60x60"), handshakes("backend-timeout", "0+6x60")],
    "WsguardForeignPages": [UP, handshakes("origin-denied", "0+120x60")],
    "WsguardFault": [UP, handshakes("guard-fault", "_x50 1x10")],
    "WsguardLate": [
        UP,
        series("wsguard_event_loop_lag_seconds_bucket", "0+100x60", le="0.25"),
        series("wsguard_event_loop_lag_seconds_bucket", "0+110x60", le="0.5"),
        series("wsguard_event_loop_lag_seconds_bucket", "0+110x60", le="+Inf"),
    ],
    "WsguardDescriptorsShort": [UP, series("process_open_fds", "900x60"), series("process_max_fds", "1000x60")],
    "WsguardLeftDraining": [UP, series("wsguard_draining", "1x60")],
    "WsguardLogLost": [UP, series("wsguard_log_lines_dropped_total", "0x50 7x10")],
}
"""What each alert is for, as an hour of metrics. A series with labels is not there before the first of its kind."""
AGAIN = {
    "WsguardSessionEventsLost": [UP, series("wsguard_session_events_total", "1x50 2x10", source="s", result="gap")],
    "WsguardFault": [UP, handshakes("guard-fault", "1x50 2x10")],
}
"""The next of its kind."""

HEALTHY = [
    UP,
    series("wsguard_policy_last_reload_successful", "1x60"),
    series("wsguard_deny_list_overflowed", "0x60"),
    series("wsguard_session_event_source_up", "1x60", source="RedisStream"),
    series("wsguard_session_events_total", "0+9x60", source="RedisStream", result="applied"),
    handshakes("", "0+600x60"),
    handshakes("origin-denied", "0+6x60"),
    handshakes("credential-missing", "0+60x60"),
    handshakes("backend-timeout", "0+1x60"),
    handshakes("guard-fault", "_x5 1x55"),
    series("wsguard_event_loop_lag_seconds_bucket", "0+100x60", le="0.005"),
    series("wsguard_event_loop_lag_seconds_bucket", "0+100x60", le="+Inf"),
    series("process_open_fds", "100x60"),
    series("process_max_fds", "1000x60"),
    series("wsguard_draining", "0x55 1x5"),
    series("wsguard_log_lines_dropped_total", "0x60"),
]


def test_every_alert_is_tried() -> None:
    assert [rule["alert"] for rule in RULES] == list(FIRES)


@pytest.mark.parametrize("alert", [*FIRES, None], ids=lambda alert: alert or "healthy")
def test_it_fires_and_no_other(alert: str | None, tmp_path: Path) -> None:
    expect(alert, FIRES[alert] if alert else HEALTHY, tmp_path)


@pytest.mark.parametrize("alert", AGAIN)
def test_it_fires_again(alert: str, tmp_path: Path) -> None:
    expect(alert, AGAIN[alert], tmp_path)


def expect(alert: str | None, hour: list[dict[str, str]], tmp_path: Path) -> None:
    """Of all alerts this one fires in that hour, or none."""
    firing = 'count by (alertname) (ALERTS{alertstate="firing"})'
    fires = [{"labels": f'{{alertname="{alert}"}}', "value": 1}] if alert else []
    case = {
        "interval": "1m",
        "input_series": hour,
        "promql_expr_test": [{"expr": firing, "eval_time": "55m", "exp_samples": fires}],
    }
    (tmp_path / "case.json").write_text(json.dumps({"rule_files": [str(ALERTS)], "tests": [case]}))
    assert "SUCCESS" in run(need("promtool"), "test", "rules", tmp_path / "case.json")


def test_a_release_watches_over_itself_alone(gateway: Path, tmp_path: Path) -> None:
    rendered = template(gateway, ALL_OF_IT)
    spec = one(rendered, "PrometheusRule")["spec"]
    text = json.dumps(spec)
    assert "RELEASE" not in text
    assert "NAMESPACE" not in text
    (tmp_path / "rules.json").write_text(text)
    assert f"SUCCESS: {len(RULES)} rules found" in run(need("promtool"), "check", "rules", tmp_path / "rules.json")
    for rule in spec["groups"][0]["rules"]:
        selectors = re.findall(r"\{([^}]*)\}", rule["expr"])
        assert all('wsguard_dev_guard="chat", ' in each and 'namespace="live"' in each for each in map(flat, selectors))


def test_operators_find_them_by_their_labels(gateway: Path) -> None:
    rendered = template(gateway, ALL_OF_IT)
    for kind in ("PodMonitor", "PrometheusRule"):
        assert one(rendered, kind)["metadata"]["labels"]["release"] == "prometheus"
    assert dashboard_of(rendered)["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert one(rendered, "PodMonitor")["spec"]["podTargetLabels"] == ["wsguard.dev/guard"]


def test_the_dashboard_arrives_as_it_is(gateway: Path) -> None:
    assert json.loads(dashboard_of(template(gateway, ALL_OF_IT))["data"]["wsguard.json"]) == DASHBOARD


def test_its_panels_do_not_overlap_and_say_what_they_show() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        assert panel["title"]
        taken |= cells


def dashboard_of(rendered: list[Manifest]) -> Manifest:
    return one(rendered, "ConfigMap", "chat-wsguard-dashboard")


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)
