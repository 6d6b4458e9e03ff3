"""The annotations that say how a workload is guarded. This table is their reference documentation.

They stand on the workload or on its pod template; where both have one, they must agree.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from wsguard import __version__
from wsguard.kubernetes.report import Report
from wsguard.kubernetes.revision import RECORD
from wsguard.kubernetes.tree import Mapping, Node, Scalar, find
from wsguard.policy.fields import parse_duration
from wsguard.policy.model_base import shorten

PREFIX = "wsguard.dev/"
DEFAULT_IMAGE = f"wsguard:{__version__}"

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_.-][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Annotation:
    """One of them: how its text is read (a ValueError says what was expected), and what holds without it."""

    read: Callable[[str], Any]
    default: Any
    shown: str
    line: str


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError('expected "true" or "false"')
    return text == "true"


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("expected a name as Kubernetes has them: lower case, digits, - and .")
    return text


def _names(text: str) -> tuple[str, ...]:
    return tuple(_name(word.strip()) for word in text.split(","))


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ValueError("expected the number of a port, 1 to 65535")
    return int(text)


def _port_or_name(text: str) -> int | str:
    return _port(text) if text.isdigit() else _name(text)


def _seconds(text: str) -> int:
    seconds = parse_duration(text)
    if seconds != int(seconds):
        raise ValueError("expected whole seconds")
    return int(seconds)


def _window(text: str) -> int:
    if not (seconds := _seconds(text)):
        raise ValueError("expected a duration longer than 0s")
    return seconds


def _image(text: str) -> str:
    if not re.fullmatch(r"[\w.:@/-]+", text, re.ASCII):
        raise ValueError("expected an image such as registry.example.com/wsguard:1.0")
    return text


def _variable(text: str) -> tuple[str, str]:
    name, is_given, value = text.partition("=")
    if not _VARIABLE.fullmatch(name):
        raise ValueError("expected the name of an environment variable, or NAME=VALUE")
    return name, value if is_given else "127.0.0.1"


def _words(text: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"expected words as for a shell: {error}") from None
    if not words or len(set(words)) < len(words):
        raise ValueError("expected arguments such as --host=127.0.0.1, each word once")
    return words


ANNOTATIONS: dict[str, Annotation] = {
    "inject": Annotation(
        _truth, None, "", '"true": guard this one, and of the others only those that say so too; "false": never'
    ),
    "app-port": Annotation(
        _port_or_name, None, "the container's only port", "the application's port, a number or a name"
    ),
    "container": Annotation(_name, None, "the one with the port", "the application's container"),
    "bind-env": Annotation(
        _variable, None, "", "binds the application to loopback: `NAME` is set to 127.0.0.1, `NAME=VALUE` to the value"
    ),
    "bind-args": Annotation(_words, None, "", "binds the application to loopback: these words are added to its `args`"),
    "policy-configmap": Annotation(_name, None, "the built-in policy", "the ConfigMap whose keys are policy files"),
    "secrets": Annotation(_names, (), "", "Secrets, parted by commas; their keys become files in /etc/wsguard/secrets"),
    "image": Annotation(_image, DEFAULT_IMAGE, "wsguard:VERSION", "the guard's image"),
    "listen-port": Annotation(_port, None, "8080, or the next that is free", "where the Service leads"),
    "admin-port": Annotation(_port, None, "9090, or the next that is free", "probes and metrics"),
    "probe-host": Annotation(
        _name, None, "", "the `Host` of probes that go through the guard, where policies or `allowedHosts` name hosts"
    ),
    "drain-after": Annotation(_seconds, 5, "5s", "a drain begins so much later, until load balancers have heard"),
    "drain-window": Annotation(_window, 20, "20s", "over which a drain spreads its closes"),
    "app-shutdown": Annotation(_seconds, 10, "10s", "what the application needs for itself, after its SIGTERM"),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """The annotations of one workload, read; `given` are those that stand there, and where."""

    values: AbstractMapping[str, Any]
    given: AbstractMapping[str, Node]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


def read_settings(root: Mapping, report: Report) -> Settings:
    """The settings of a workload. Everything wrong with them goes to `report`, and the default holds for it."""
    values = {name: annotation.default for name, annotation in ANNOTATIONS.items()}
    given: dict[str, Node] = {}
    written: dict[str, str] = {}
    for path in (("metadata", "annotations"), ("spec", "template", "metadata", "annotations")):
        found = find(root, *path)
        for entry in found.entries if isinstance(found, Mapping) else ():
            name = entry.key.text.removeprefix(PREFIX)
            if entry.key.text in (name, RECORD):
                continue
            text = _text(name, entry.key, find(found, entry.key.text), report)
            if text is None:
                continue
            if written.setdefault(name, text) != text:
                report.problem(
                    entry.key, f'{entry.key.text} is "{shorten(written[name])}" on the workload, and here not'
                )
                continue
            given[name] = entry.key
            try:
                values[name] = ANNOTATIONS[name].read(text)
            except ValueError as error:
                report.problem(entry.value, f"{entry.key.text}: {error}")
    return Settings(values, given)


def _text(name: str, key: Scalar, value: Node | None, report: Report) -> str | None:
    """The annotation's text. Kubernetes refuses `true` and `3000` without quotes, since they are no text."""
    if name not in ANNOTATIONS:
        near = get_close_matches(name, ANNOTATIONS, n=1)
        hint = f"; did you mean {PREFIX}{near[0]}?" if near else ""
        report.problem(key, f"there is no annotation {shorten(key.text)}{hint}")
        return None
    if isinstance(value, Scalar) and isinstance(value.value, str):
        return value.text
    report.problem(value or key, f"{key.text}: an annotation is text, so put it in quotes")
    return None
