"""Manifests as people and tools write them: generated objects, in every layout."""

from __future__ import annotations

import json
from typing import Any

import yaml
from hypothesis import strategies as st

Manifest = dict[str, Any]
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

NAMES = st.sampled_from(["app", "web", "log-agent", "x"])
PORTS = st.sampled_from([80, 3000, 8080, 8081, 9090, 9102])
TEXTS = st.sampled_from(
    ["", "plain", "true", "8080", "two: words", "# no comment", "a\nb\n", "'", '"', "ü", "{}", "- x"]
)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Manifest]:
    """A mapping with any of these keys."""
    return st.fixed_dictionaries({}, optional=fields)


PROBES = some(
    httpGet=st.fixed_dictionaries({"port": PORTS | st.just("http")}, optional={"path": st.just("/healthz")}),
    periodSeconds=st.just(5),
)
CONTAINERS = st.fixed_dictionaries(
    {"name": NAMES},
    optional={
        "image": st.just("example.com/app:1"),
        "command": st.lists(TEXTS, max_size=2),
        "args": st.none() | st.lists(st.sampled_from(["--host=0.0.0.0", "--host", "0.0.0.0", "serve"]), max_size=3),
        "env": st.none()
        | st.lists(st.fixed_dictionaries({"name": st.sampled_from(["HOST", "A"]), "value": TEXTS}), max_size=2),
        "readinessProbe": PROBES,
        "lifecycle": st.none() | some(preStop=st.none() | st.just({"sleep": {"seconds": 3}}), postStart=PROBES),
    },
)
DECLARED = st.lists(
    st.fixed_dictionaries({"containerPort": PORTS}, optional={"name": st.just("http")}), min_size=1, max_size=1
)
APPLICATIONS = st.builds(lambda container, ports: container | {"ports": ports}, CONTAINERS, DECLARED)
PODS = st.fixed_dictionaries(
    {
        "containers": st.tuples(APPLICATIONS)
        | st.tuples(CONTAINERS.map(lambda one: one | {"name": "helper"}), APPLICATIONS)
    },
    optional={
        "initContainers": st.none() | st.just([]) | st.just([{"name": "migrate", "image": "m"}]),
        "volumes": st.none() | st.just([]) | st.just([{"name": "data", "emptyDir": {}}]),
        "terminationGracePeriodSeconds": st.none() | st.sampled_from([5, 60]),
        "hostNetwork": st.sampled_from([False, False, False, True]),
    },
)
ANNOTATIONS = some(
    **{
        "wsguard.dev/bind-env": st.just("HOST"),
        "wsguard.dev/bind-args": st.sampled_from(
            ["--host=127.0.0.1", "--host 127.0.0.1", "--bind 127.0.0.1 -v", "--ip=127.0.0.1"]
        ),
        "wsguard.dev/policy-configmap": st.just("policies"),
        "wsguard.dev/listen-port": st.just("8443"),
        "wsguard.dev/probe-host": st.just("app.example.com"),
        "other": TEXTS,
    }
)
WORKLOADS = st.builds(
    lambda kind, name, annotations, pod: {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, **annotations},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod | {"containers": list(pod["containers"])}},
        },
    },
    st.sampled_from(["Deployment", "StatefulSet", "DaemonSet"]),
    NAMES,
    some(annotations=st.none() | ANNOTATIONS),
    PODS,
)
SERVICES = st.builds(
    lambda name, port, target: {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": port, **target}]},
    },
    NAMES,
    PORTS,
    some(targetPort=PORTS | st.just("http")),
)
OTHERS = st.builds(
    lambda data: {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data},
    st.dictionaries(st.sampled_from(["a", "b"]), TEXTS),
)
STREAMS = st.lists(WORKLOADS | SERVICES | OTHERS, min_size=1, max_size=4)


@st.composite
def written(draw: st.DrawFn, manifests: list[Manifest]) -> str:
    """The manifests in some layout: YAML in blocks or braces, with comments, a List, JSON; any line breaks."""
    if draw(st.booleans()):
        manifests = [{"apiVersion": "v1", "kind": "List", "items": manifests}]
    if len(manifests) == 1 and draw(st.booleans()):
        text = json.dumps(manifests[0], indent=draw(st.sampled_from([None, 2, "\t"])))
    else:
        text = draw(_separators()).join(draw(_block(manifest)) for manifest in manifests)
    if draw(st.booleans()):
        text = text.replace("\n", "\r\n")
    return text.rstrip("\r\n") if draw(st.booleans()) else text


def _separators() -> st.SearchStrategy[str]:
    return st.sampled_from(["---\n", "---  # next\n", "\n---\n# c\n", "...\n---\n---\n", "...\n%YAML 1.1\n---\n"])


@st.composite
def _block(draw: st.DrawFn, manifest: Manifest) -> str:
    flow = draw(st.sampled_from([False, None, True]))
    style: dict[str, Any] = {
        "default_flow_style": flow,
        "sort_keys": draw(st.booleans()),
        "indent": draw(st.integers(2, 4)),
    }
    text: str = yaml.dump(manifest, Dumper=DUMPER, **style)
    lines = []
    for line in text.splitlines():
        if draw(st.integers(0, 9)) == 0 and flow is False and _is_simple(line):
            lines.append(draw(st.sampled_from(["# between", "      # - name: indented", ""])))
            line += draw(st.sampled_from(["", "   # behind", "  "]))  # noqa: PLW2901
        lines.append(line)
    return "".join(f"{line}\n" for line in lines)


def _is_simple(line: str) -> bool:
    """Not inside of a text that goes over several lines, where a comment would be none."""
    return '"' not in line and "'" not in line and (": " in line or line.endswith(":"))
