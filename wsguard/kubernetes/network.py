"""NetworkPolicies: those that let somebody in to an application, and the one that is made where there is none.

NetworkPolicies add up: what one allows, no other takes back. So where the input has its own for a workload, they are
led to the guard and none is added, for it would let in whom they keep out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wsguard.kubernetes.guarding import Guarded
from wsguard.kubernetes.report import Report
from wsguard.kubernetes.revision import MADE, RECORD, Revision
from wsguard.kubernetes.tree import Mapping, Node, items_at, text_at
from wsguard.kubernetes.workload import Workload, labels_at


def let_in(policy: Mapping, guarded: Sequence[Guarded], revision: Revision, report: Report) -> set[Workload]:
    """Let those who may reach an application reach its guard instead. Returns the workloads that `policy` is about."""
    types = [text_at(item) for item in items_at(policy, "spec", "policyTypes")]
    if types and "Ingress" not in types:
        return set()
    about = [one for one in guarded if _selects(policy, one.workload)]
    for at, rule in enumerate(items_at(policy, "spec", "ingress")):
        for one in about:
            ports = items_at(rule, "ports")
            if not ports:
                _warn_of_open_rule(policy, rule, one, report)
            for index, port in enumerate(ports):
                _lead(port, at, index, one, revision, report)
    return {one.workload for one in about}


def _lead(port: Node, at: int, index: int, one: Guarded, revision: Revision, report: Report) -> None:
    first, last = text_at(port, "port"), text_at(port, "endPort")
    if text_at(port, "protocol") not in (None, "TCP"):
        return
    if one.application.is_meant_by(first) and last is None:
        revision.replace(("spec", "ingress", at, "ports", index, "port"), one.sidecar.listen)
    elif not one.is_bound and (first is None or _is_within(one.application.port, first, last)):
        report.problem(
            port, f"these ports have port {one.application.port} of {one.workload} among them: name it by itself"
        )


def _is_within(port: int, first: str, last: str | None) -> bool:
    return last is not None and first.isdigit() and last.isdigit() and int(first) <= port <= int(last)


def _warn_of_open_rule(policy: Mapping, rule: Node, one: Guarded, report: Report) -> None:
    if not one.is_bound:
        report.problem(
            rule,
            f"NetworkPolicy {text_at(policy, 'metadata', 'name')} lets these peers in on every port, and so to port "
            f"{one.application.port} of {one.workload} around the guard: name the ports",
        )


def shield(one: Guarded) -> dict[str, Any]:
    """A NetworkPolicy under which other pods reach the guard and the declared ports, and not the application's own."""
    workload = one.workload
    others = {
        (port.number, port.protocol): None
        for container in workload.everything()
        for port in container.ports()
        if (port.number, port.protocol) != (one.application.port, "TCP")
    }
    ports = [(one.sidecar.listen, "TCP"), *others]
    namespace = {"namespace": workload.namespace} if workload.namespace else {}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": shield_name(workload), **namespace, "annotations": {RECORD: MADE}},
        "spec": {
            "podSelector": _selector(workload),
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"port": number, "protocol": protocol} for number, protocol in ports]}],
        },
    }


def _selector(workload: Workload) -> dict[str, Any]:
    """The workload's own, written anew."""
    labels = labels_at(workload.root, "spec", "selector", "matchLabels")
    expressions = [
        {
            "key": text_at(expression, "key"),
            "operator": text_at(expression, "operator"),
            **({"values": values} if (values := [text_at(item) for item in items_at(expression, "values")]) else {}),
        }
        for expression in items_at(workload.root, "spec", "selector", "matchExpressions")
    ]
    return ({"matchLabels": labels} if labels else {}) | ({"matchExpressions": expressions} if expressions else {})


def shield_name(workload: Workload) -> str:
    """What the NetworkPolicy of a workload is called: a Deployment may share a StatefulSet's name."""
    return f"{workload.name}-{workload.kind.lower()}-wsguard"


def say_shield(one: Guarded, report: Report) -> None:
    """What the operator has to know of it."""
    report.note(
        one.workload.root,
        f"{one.workload}: no annotation says how to bind the application to 127.0.0.1, so the NetworkPolicy "
        f"{shield_name(one.workload)} keeps other pods from its port {one.application.port}; that holds only where the "
        "cluster's network enforces NetworkPolicies, and opens only ports that containers declare",
    )


def _selects(policy: Mapping, workload: Workload) -> bool:
    if text_at(policy, "metadata", "namespace") != workload.namespace:
        return False
    labels = workload.labels
    wanted = labels_at(policy, "spec", "podSelector", "matchLabels")
    expressions = items_at(policy, "spec", "podSelector", "matchExpressions")
    return wanted.items() <= labels.items() and all(_holds(expression, labels) for expression in expressions)


def _holds(expression: Node, labels: dict[str, str]) -> bool:
    value = labels.get(text_at(expression, "key") or "")
    values = [text_at(item) for item in items_at(expression, "values")]
    match text_at(expression, "operator"):
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    return False
