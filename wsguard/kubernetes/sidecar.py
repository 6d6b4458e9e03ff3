"""The guard's container and its volumes, the same as in the Helm library chart.

Ports in probes and hooks are numbers, for a name resolves only in its own container. No shell: the image has no use
for one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wsguard.kubernetes.settings import Settings
from wsguard.kubernetes.workload import NAME

_STRAGGLERS = 5
"""Seconds after the window in which what has not ended is left behind."""
_STEPS = 5
"""Seconds for the way from one step of an ending to the next."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A guard on `listen` before the application on `backend`."""

    settings: Settings
    backend: int
    listen: int
    admin: int

    def container(self) -> dict[str, Any]:
        """A native sidecar: it starts before the application and gets its SIGTERM after it."""
        policies = ["--policy=/etc/wsguard/policies"] if self.settings["policy-configmap"] else []
        return {
            "name": NAME,
            "image": self.settings["image"],
            "imagePullPolicy": "IfNotPresent",
            "restartPolicy": "Always",
            "args": [
                "run",
                *policies,
                f"--backend=http://127.0.0.1:{self.backend}",
                f"--listen=0.0.0.0:{self.listen}",
                f"--admin=0.0.0.0:{self.admin}",
            ],
            "ports": [
                {"name": "wsguard", "containerPort": self.listen, "protocol": "TCP"},
                {"name": "wsguard-admin", "containerPort": self.admin, "protocol": "TCP"},
            ],
            "startupProbe": {**self._asks("/startupz"), "periodSeconds": 1, "failureThreshold": 60},
            "livenessProbe": {**self._asks("/livez"), "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3},
            "readinessProbe": {**self._asks("/readyz"), "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 2},
            "lifecycle": {"preStop": {"exec": {"command": self.drain_command()}}},
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "readOnlyRootFilesystem": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "resources": {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "256Mi"}},
            "volumeMounts": self._mounts(),
        }

    def drain_command(self) -> list[str]:
        """What the guard's own hook runs."""
        after, window = self.settings["drain-after"], self.settings["drain-window"]
        return ["wsguard", "drain", f"--after={after}s", f"--window={window}s", "--wait"]

    def volumes(self) -> list[dict[str, Any]]:
        """What the container mounts."""
        volumes: list[dict[str, Any]] = []
        if configmap := self.settings["policy-configmap"]:
            volumes.append({"name": "wsguard-policies", "configMap": {"name": configmap}})
        if secrets := self.settings["secrets"]:
            sources = [{"secret": {"name": name}} for name in secrets]
            volumes.append({"name": "wsguard-secrets", "projected": {"sources": sources}})
        return [*volumes, {"name": "wsguard-tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]

    def wait_for_drain(self) -> dict[str, Any]:
        """The preStop hook of the others: all hooks run side by side, and without one they would be gone at once."""
        return self._asks("/drain/wait")

    def grace(self) -> int:
        """The pod's grace period in seconds: the hooks' time and what follows."""
        seconds: int = self.drained_after() + self.settings["app-shutdown"] + _STEPS
        return seconds

    def drained_after(self) -> int:
        """Seconds from the beginning of the pod's end to the end of the drain, at the latest."""
        seconds: int = self.settings["drain-after"] + self.settings["drain-window"] + _STRAGGLERS
        return seconds

    def _asks(self, path: str) -> dict[str, Any]:
        return {"httpGet": {"path": path, "port": self.admin}}

    def _mounts(self) -> list[dict[str, Any]]:
        mounts: list[dict[str, Any]] = []
        if self.settings["policy-configmap"]:
            mounts.append({"name": "wsguard-policies", "mountPath": "/etc/wsguard/policies", "readOnly": True})
        if self.settings["secrets"]:
            mounts.append({"name": "wsguard-secrets", "mountPath": "/etc/wsguard/secrets", "readOnly": True})
        return [*mounts, {"name": "wsguard-tmp", "mountPath": "/tmp"}]  # noqa: S108 - in the pod, and its own
