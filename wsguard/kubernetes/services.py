"""Services: a port that led to the application leads to its guard, and no other is touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from wsguard.kubernetes.guarding import Guarded
from wsguard.kubernetes.report import Report
from wsguard.kubernetes.revision import Path, Revision
from wsguard.kubernetes.tree import Mapping, Node, items_at, text_at
from wsguard.kubernetes.workload import Workload, labels_at


def reroute(
    service: Mapping, guarded: Sequence[Guarded], others: Sequence[Workload], revision: Revision, report: Report
) -> set[Workload]:
    """Let the ports of `service` that lead to an application lead to its guard. Returns the workloads it leads to.

    `others` are the workloads that have no guard.
    """
    selector = labels_at(service, "spec", "selector")
    behind = [one for one in guarded if selector and _is_selected(selector, service, one.workload)]
    rerouted: set[Workload] = set()
    for step, port in _ports(service):
        meant = text_at(port, "targetPort") or text_at(port, "port")
        led = [one for one in behind if one.application.is_meant_by(meant)]
        if not led:
            continue
        listens = {one.sidecar.listen for one in led}
        unguarded = [other for other in others if _is_selected(selector, service, other)]
        if len(listens) > 1 or unguarded:
            whom = ", ".join(map(str, [*(one.workload for one in led), *unguarded]))
            why = "of which some have no guard" if unguarded else "whose guards listen on different ports"
            report.problem(port, f"Service {_name(service)} leads to {whom}, {why}")
            continue
        _lead(port, ("spec", "ports", step), led[0].sidecar.listen, revision)
        rerouted |= {one.workload for one in led}
    if rerouted and text_at(service, "spec", "clusterIP") == "None":
        ports = ", ".join(str(one.sidecar.listen) for one in behind)
        report.note(
            service, f"Service {_name(service)} is headless: who connects to a pod by its name has to use port {ports}"
        )
    return rerouted


def _ports(service: Mapping) -> Iterator[tuple[dict[str, Any], Node]]:
    """The TCP ports, each with the step that leads to it. Where there are several, all have names."""
    for port in items_at(service, "spec", "ports"):
        number, protocol = text_at(port, "port") or "", text_at(port, "protocol")
        if number.isdigit() and protocol in (None, "TCP"):
            name = text_at(port, "name")
            yield ({"name": name} if name else {"port": int(number)}), port


def _lead(port: Node, path: Path, listen: int, revision: Revision) -> None:
    if text_at(port, "targetPort") is None:
        revision.put((*path, "targetPort"), listen)
    else:
        revision.replace((*path, "targetPort"), listen)


def _is_selected(selector: dict[str, str], manifest: Mapping, workload: Workload) -> bool:
    namespace = text_at(manifest, "metadata", "namespace")
    return namespace == workload.namespace and selector.items() <= workload.labels.items()


def _name(manifest: Mapping) -> str:
    return text_at(manifest, "metadata", "name") or "without a name"
