"""A workload as its manifest tells of it: which containers, which ports, who is the application."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wsguard.kubernetes.report import Report
from wsguard.kubernetes.revision import Path
from wsguard.kubernetes.settings import PREFIX, Settings
from wsguard.kubernetes.tree import Mapping, Node, Scalar, find, items_at, text_at

KINDS = ("Deployment", "StatefulSet", "DaemonSet")
POD: Path = ("spec", "template", "spec")
NAME = "wsguard"


@dataclass(frozen=True, slots=True)
class Port:
    """A port that a container declares."""

    node: Node
    number: int
    name: str | None
    protocol: str


@dataclass(frozen=True, slots=True)
class Container:
    """A container and how to get to it."""

    node: Mapping
    name: str
    path: Path

    def ports(self) -> Iterator[Port]:
        """What it declares; nothing is opened or closed by it."""
        for node in items_at(self.node, "ports"):
            number = text_at(node, "containerPort") or ""
            if number.isdigit():
                yield Port(node, int(number), text_at(node, "name"), text_at(node, "protocol") or "TCP")


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment, StatefulSet or DaemonSet."""

    root: Mapping
    kind: str
    name: str
    namespace: str | None

    @classmethod
    def read(cls, root: Mapping) -> Workload:
        """The workload that `root` is."""
        name = text_at(root, "metadata", "name") or text_at(root, "metadata", "generateName") or "without a name"
        return cls(root, text_at(root, "kind") or "", name, text_at(root, "metadata", "namespace"))

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def pod(self) -> Node | None:
        """The pod's spec."""
        return find(self.root, "spec", "template", "spec")

    @property
    def labels(self) -> dict[str, str]:
        """The pod's labels."""
        return labels_at(self.root, "spec", "template", "metadata", "labels")

    @property
    def is_on_host_network(self) -> bool:
        """Whether the pod's ports are the node's."""
        return text_at(self.pod, "hostNetwork") == "true"

    def containers(self, of: str = "containers") -> list[Container]:
        """The containers, or the `initContainers`."""
        return [
            Container(node, name, (*POD, of, {"name": name}))
            for node in items_at(self.pod, of)
            if isinstance(node, Mapping) and (name := text_at(node, "name")) is not None
        ]

    def everything(self) -> list[Container]:
        """All containers."""
        return [*self.containers(), *self.containers("initContainers")]


@dataclass(frozen=True, slots=True)
class Application:
    """The container that is guarded, and its port."""

    container: Container
    port: int
    names: frozenset[str]
    """What the port is called."""

    def is_meant_by(self, port: str | None) -> bool:
        """Whether a number or a name means the application's port."""
        return port == str(self.port) or port in self.names


def labels_at(root: Node, *keys: str) -> dict[str, str]:
    """A mapping of text to text."""
    found = find(root, *keys)
    pairs = (
        ((entry.key.text, find(found, entry.key.text)) for entry in found.entries) if isinstance(found, Mapping) else ()
    )
    return {key: value.text for key, value in pairs if isinstance(value, Scalar)}


def find_application(workload: Workload, settings: Settings, report: Report) -> Application | None:
    """The application and its port; None, and a problem, where that is open."""
    containers = workload.containers()
    if not containers:
        report.problem(workload.root, f"{workload} has no containers")
        return None
    if (wanted := settings["container"]) is not None:
        containers = [container for container in containers if container.name == wanted]
        if not containers:
            report.problem(settings.given["container"], f"{workload} has no container {wanted}")
            return None
    declared = [(container, port) for container in containers for port in container.ports() if port.protocol == "TCP"]
    if (port := settings["app-port"]) is not None:
        declared = [pair for pair in declared if port in (pair[1].number, pair[1].name)]
        if isinstance(port, int) and not declared and len(containers) == 1:
            return Application(containers[0], port, frozenset())  # declared or not, a port is a port
    if len({(container.name, port.number) for container, port in declared}) != 1:
        report.problem(
            settings.given.get("app-port", workload.root), _open_question(workload, containers, declared, port)
        )
        return None
    container, found = declared[0]
    return Application(container, found.number, frozenset(port.name for _, port in declared if port.name))


def _open_question(
    workload: Workload, containers: list[Container], declared: list[tuple[Container, Port]], wanted: int | str | None
) -> str:
    if wanted is not None and not declared:
        return f"{workload} declares no TCP port {wanted}, so its number or its container is not known"
    if not declared:
        return f"{workload} declares no TCP port: say which is the application's with {PREFIX}app-port"
    ports = ", ".join(f"{port.number} of {container.name}" for container, port in declared)
    names = {container.name for container, _ in declared}
    which = "app-port" if len(names) == 1 or wanted is None else "container"
    return f"{workload} declares several TCP ports ({ports}): say which is the application's with {PREFIX}{which}"
