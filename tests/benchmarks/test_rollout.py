"""What a deploy's figures count: nothing that was lost, doubled or cut goes unseen, and the published one holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import COMPARED, DEPLOYS, DRAINS, RESULTS
from benchmarks.drain_report import Drains
from benchmarks.report import Run, markdown
from benchmarks.rollout_report import Deploy, Deploys, Manner, draw

SECOND = 1000
END = 100 * SECOND  # ms since the epoch


def told(name: str, **changes: Any) -> dict[str, Any]:
    """What a client tells to whom nothing happened: two messages each way, one of them twice on the wire."""
    opens, closes = [[END - 9, False], [END + SECOND, True]], [[END + 2 * SECOND, 1012]]
    report = {"name": name, "sent": 2, "heard": [1, 2], "received": 3, "opens": opens, "closes": closes, "gaps": []}
    return {**report, **changes}


def found(*reports: dict[str, Any], said: tuple[int, ...] = (1, 2)) -> Deploy:
    """A deploy with one end, of clients that told `reports`; the hub got the numbers `said` from each."""
    ledger: dict[tuple[str, int], int] = {}
    for report in reports:
        for number in said:
            ledger[report["name"], number] = ledger.get((report["name"], number), 0) + 1
    published = {report["name"]: 2 for report in reports}
    return Deploy.of(Manner.DRAINED, 4.0, 1.0, reports, ledger, published, [END / 1000])


def test_a_deploy_that_nobody_noticed() -> None:
    deploy = found(
        told("a"), told("b", opens=[[END - 9, False], [END + 3 * SECOND, True]], closes=[[END + 3500, 1012]])
    )
    assert deploy.broken == []
    assert (deploy.moves, deploy.overlapped, deploy.unbroken, deploy.dropped) == (2, 2, 2, 2)
    assert (deploy.up.sent, deploy.down.sent) == (4, 4)
    assert (deploy.opens, deploy.closes) == ([0, 1, 0, 1], [0, 0, 1, 1])


@pytest.mark.parametrize(
    ("changes", "said", "sentence"),
    [
        ({"heard": [2]}, (1, 2), "messages were lost: 0 up, 1 down"),
        ({"heard": [1, 2, 2]}, (1, 2), "messages came twice: 0 up, 1 down"),
        ({}, (1,), "messages were lost: 2 up, 0 down"),
        ({}, (1, 2, 2), "messages came twice: 2 up, 0 down"),
        ({"gaps": [[END, END + 5]]}, (1, 2), "clients were without a connection for 0.005 s"),
        ({"opens": [[0, False], [END + SECOND, False]]}, (1, 2), "1 of 2 clients always had"),
        ({"opens": [[0, False]]}, (1, 2), "1 of 2 clients always had"),
        ({"closes": [[END + 2100, 1012]] * 2}, (1, 2), "closes were not flat: (3, 4.0)"),
        ({"opens": [[0, False], *[[END + 900, True]] * 2]}, (1, 2), "reconnects were not flat: (3, 4.0)"),
    ],
)
def test_what_is_broken_is_said(changes: dict[str, Any], said: tuple[int, ...], sentence: str) -> None:
    broken = found(told("a"), told("b", **changes), said=said).broken
    assert any(line.startswith(sentence) for line in broken), broken


def test_the_page_and_the_picture_say_it(tmp_path: Path) -> None:
    deploys = Deploys([found(told("a"))], {"cores": "2"})
    assert Deploys.from_json(deploys.to_json()) == deploys
    run = Run.from_json((RESULTS / COMPARED).read_text())
    page = markdown(run, None, None, deploys)
    assert "clients | 1 of 1 |\n" in page
    assert "| close codes | 1012: 1 |" in page
    draw(deploys, tmp_path / "rollout.svg")
    assert "1 clients, with wsguard" in (tmp_path / "rollout.svg").read_text()


def test_the_published_deploy_lost_nothing_and_the_others_say_what_they_lost() -> None:
    deploys = Deploys.from_json((RESULTS / DEPLOYS).read_text())
    assert [deploy.manner for deploy in deploys.deploys] == list(Manner)
    drained, *rest = deploys.deploys
    assert (drained.clients, drained.broken) == (1000, [])
    assert all(deploy.down.lost for deploy in rest)


def test_the_published_drains_were_flat_and_in_time() -> None:
    drains = Drains.from_json((RESULTS / DRAINS).read_text())
    assert {(drain.connections, drain.window) for drain in drains.drains} == {(9000, 10.0), (9000, 60.0)}
    for drain in drains.drains:
        assert drain.told == drain.connections
        assert max(drain.closes) <= 2 * drain.connections / drain.window
        assert max(drain.returns) <= 2 * drain.connections / len(drain.returns)
        assert drain.exit <= drain.window + 2.0
