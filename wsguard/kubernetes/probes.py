"""Probes of an application that only its own pod can reach.

The kubelet asks from outside of the pod. What it asked of the application's port it now asks of the guard's, which
passes plain HTTP on; so a probe still says whether the application answers.
"""

from __future__ import annotations

from wsguard.kubernetes.report import Report
from wsguard.kubernetes.revision import Path, Revision
from wsguard.kubernetes.sidecar import Sidecar
from wsguard.kubernetes.tree import Node, find, items_at, text_at
from wsguard.kubernetes.workload import Application, Container

_ASKED: tuple[Path, ...] = (
    ("startupProbe",),
    ("livenessProbe",),
    ("readinessProbe",),
    ("lifecycle", "postStart"),
    ("lifecycle", "preStop"),
)


def lead_through(container: Container, app: Application, sidecar: Sidecar, revision: Revision, report: Report) -> None:
    """Lead what the kubelet asks of the application's port through the guard."""
    for keys in _ASKED:
        what = ".".join(map(str, keys))
        node = find(container.node, *map(str, keys))
        for way in ("tcpSocket", "grpc"):
            asked = find(node, way)
            if asked is not None and _is_own(asked, container, app):
                report.problem(
                    asked,
                    f"the {what} of the container {container.name} cannot go through the guard as {way}, and "
                    f"from outside nobody else reaches port {app.port}: make it httpGet or exec",
                )
        asked = find(node, "httpGet")
        if asked is not None and _is_own(asked, container, app):
            _redirect(asked, (*container.path, *keys, "httpGet"), sidecar, revision)


def refuse_tls(container: Container, app: Application, report: Report) -> None:
    """A probe that speaks TLS to the application's port tells what the guard cannot: it speaks plain HTTP."""
    for keys in _ASKED:
        asked = find(container.node, *map(str, keys), "httpGet")
        if asked is not None and text_at(asked, "scheme") == "HTTPS" and _is_own(asked, container, app):
            report.problem(asked, f"the application speaks TLS on port {app.port}, which the guard does not do yet")


def _is_own(asked: Node, container: Container, app: Application) -> bool:
    port = text_at(asked, "port")
    return port == str(app.port) or (container == app.container and app.is_meant_by(port))


def _redirect(asked: Node, path: Path, sidecar: Sidecar, revision: Revision) -> None:
    revision.replace((*path, "port"), sidecar.listen)
    host: str | None = sidecar.settings["probe-host"]
    named = {(text_at(header, "name") or "").lower() for header in items_at(asked, "httpHeaders")}
    if host is not None and "host" not in named:
        revision.extend((*path, "httpHeaders"), [{"name": "Host", "value": host}])
