"""Putting the guard into one workload.

Law: what cannot be made safe is a problem, with its place; what is done differently than one would expect is a note.
The guard comes last among the init containers: what prepares the application needs no guard, and what the guard itself
may need (a mesh, a proxy to a database) is up before it and goes after it.
"""

from __future__ import annotations

from dataclasses import dataclass

from wsguard.kubernetes.binding import bind
from wsguard.kubernetes.probes import lead_through, refuse_tls
from wsguard.kubernetes.report import Report
from wsguard.kubernetes.revision import Revision
from wsguard.kubernetes.settings import DEFAULT_IMAGE, PREFIX, Settings
from wsguard.kubernetes.sidecar import Sidecar
from wsguard.kubernetes.tree import Scalar, find, items_at, text_at
from wsguard.kubernetes.workload import NAME, POD, Application, Container, Workload, find_application

_LISTEN, _ADMIN = 8080, 9090


@dataclass(frozen=True, slots=True)
class Guarded:
    """A workload with a guard in it. `is_bound`: nobody outside of the pod reaches the application but through it."""

    workload: Workload
    application: Application
    sidecar: Sidecar
    is_bound: bool


def guard(workload: Workload, settings: Settings, revision: Revision, report: Report) -> Guarded | None:
    """Put a guard into `workload`; None, and problems, where that cannot be done. Raises Unchangeable."""
    _refuse_names(workload, report)
    application = find_application(workload, settings, report)
    if application is None:
        return None
    ports = _free_ports(workload, settings, application, report)
    sidecar = Sidecar(settings, application.port, *ports)
    is_bound = bind(application, settings, revision, report)
    _refuse_ways_around(workload, application, is_bound, report)
    for container in workload.containers():
        refuse_tls(container, application, report)
        if is_bound:
            lead_through(container, application, sidecar, revision, report)
        _wait(container, sidecar, revision, report)
    _give_time(workload, sidecar, revision, report)
    revision.extend((*POD, "initContainers"), [sidecar.container()])
    revision.extend((*POD, "volumes"), sidecar.volumes())
    if workload.is_on_host_network:
        report.note(
            workload.root, f"{workload} is on the node's network, and so is the guard's admin port {sidecar.admin}"
        )
    _say_defaults(workload, settings, report)
    return Guarded(workload, application, sidecar, is_bound)


def _refuse_names(workload: Workload, report: Report) -> None:
    for container in workload.everything():
        if container.name == NAME:
            report.problem(container.node, f"{workload} has a container {NAME} that `wsguard inject` did not put there")
    for volume in items_at(workload.pod, "volumes"):
        name = text_at(volume, "name") or ""
        if name in ("wsguard-policies", "wsguard-secrets", "wsguard-tmp"):
            report.problem(volume, f"{workload} has a volume {name} that `wsguard inject` did not put there")


def _free_ports(workload: Workload, settings: Settings, app: Application, report: Report) -> tuple[int, int]:
    """The guard's two ports: all containers of a pod share one network."""
    taken: dict[int, str] = {}
    for container in workload.everything():
        taken |= {port.number: f"a port of the container {container.name}" for port in container.ports()}
    taken[app.port] = "the application's own port"
    chosen: list[int] = []
    for name, usual in (("listen-port", _LISTEN), ("admin-port", _ADMIN)):
        wanted: int | None = settings[name]
        if wanted in taken:
            report.problem(settings.given[name], f"{PREFIX}{name}: {wanted} is {taken[wanted]}")
        if wanted is None:
            reserved = {settings["listen-port"], settings["admin-port"]}
            wanted = next(port for port in range(usual, 65536) if port not in taken and port not in reserved)
        if wanted != usual and name not in settings.given:
            report.note(
                workload.root, f"{workload}: the guard has port {wanted}, for {usual} is {taken.get(usual, 'taken')}"
            )
        taken[wanted] = f"the guard's own, as {PREFIX}{name}"
        chosen.append(wanted)
    return chosen[0], chosen[1]


def _refuse_ways_around(workload: Workload, app: Application, is_bound: bool, report: Report) -> None:
    if workload.is_on_host_network and not is_bound:
        node = find(workload.pod, "hostNetwork") or workload.root
        report.problem(
            node,
            f"{workload} is on the node's network, where no NetworkPolicy holds: its own port {app.port} stays open "
            f"around the guard, unless {PREFIX}bind-env or {PREFIX}bind-args binds it to 127.0.0.1",
        )
    for container in workload.containers():
        for port in container.ports():
            opened = find(port.node, "hostPort")
            if port.number == app.port and opened is not None and not workload.is_on_host_network:
                report.problem(
                    opened, f"hostPort opens {workload}'s own port on every node, around the guard: take it out"
                )


def _wait(container: Container, sidecar: Sidecar, revision: Revision, report: Report) -> None:
    """The hook that keeps a container up while the guard drains. One of its own is left alone."""
    hook = find(container.node, "lifecycle", "preStop")
    if hook is None or (isinstance(hook, Scalar) and hook.value is None):
        revision.put((*container.path, "lifecycle", "preStop"), sidecar.wait_for_drain())
        return
    sleep = text_at(hook, "sleep", "seconds") or ""
    if not sleep.isdigit() or int(sleep) < sidecar.drained_after():
        report.note(
            hook,
            f"the container {container.name} keeps its own preStop hook: let it last until "
            f"http://127.0.0.1:{sidecar.admin}/drain/wait answers, or the drain has nothing left to spread",
        )


def _give_time(workload: Workload, sidecar: Sidecar, revision: Revision, report: Report) -> None:
    path = (*POD, "terminationGracePeriodSeconds")
    given = find(workload.pod, "terminationGracePeriodSeconds")
    needed = sidecar.grace()
    if not isinstance(given, Scalar) or given.value is None:
        revision.put(path, needed)
    elif not isinstance(given.value, int):
        report.problem(given, "terminationGracePeriodSeconds is a number of seconds")
    elif given.value < needed:
        revision.replace(path, needed)
        report.note(
            given, f"{workload}: {needed} seconds of grace in place of {given.value}, for the drain comes first"
        )


def _say_defaults(workload: Workload, settings: Settings, report: Report) -> None:
    if "image" not in settings.given:
        report.note(
            workload.root,
            f"{workload}: no {PREFIX}image names yours, so every node has to hold {DEFAULT_IMAGE}",
        )
    if "policy-configmap" not in settings.given:
        report.note(
            workload.root,
            f"{workload}: no {PREFIX}policy-configmap, so the built-in policy holds: pages of the same host "
            "only, and no login",
        )
