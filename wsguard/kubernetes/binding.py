"""Binding the application to loopback, where an annotation says how.

Law: what still names every address beside the application's port is a problem. An application that listens on two
addresses is open on one of them.
"""

from __future__ import annotations

import re

from wsguard.kubernetes.report import Report
from wsguard.kubernetes.revision import Revision
from wsguard.kubernetes.settings import PREFIX, Settings
from wsguard.kubernetes.tree import Node, Scalar, find, items_at, text_at
from wsguard.kubernetes.workload import Application

_LOOPBACK = re.compile(r"(?<![\w.])(127\.0\.0\.1|localhost)(?![\w.-])")
_EVERYWHERE = re.compile(
    r"(?<![\w.\]:})])(?:0\.0\.0\.0|\[::\]|[*+])?:(?P<port>\d+)(?![\w.:])"  # before a port, no host is every one too
    r"|(?<![\d.])(?:0\.0\.0\.0|\[::\])(?!\.?\d|:\d)"
    r"|(?:(?<=[=\s])|^)::(?!\S)|(?<==)\*(?!\S)"
)


def bind(app: Application, settings: Settings, revision: Revision, report: Report) -> bool:
    """Whether annotations say how to bind `app`. Then it is done, or there is a problem."""
    if (variable := settings["bind-env"]) is not None and _is_loopback("bind-env", variable[1], settings, report):
        _set_variable(app, variable, settings, revision, report)
    rewritten: set[Node] = set()
    if (words := settings["bind-args"]) is not None and _is_loopback("bind-args", " ".join(words), settings, report):
        rewritten = _add_arguments(app, words, settings, revision, report)
    if variable is None and words is None:
        return False
    for item in (*items_at(app.container.node, "command"), *items_at(app.container.node, "args")):
        if item not in rewritten and isinstance(item, Scalar):
            _refuse_everywhere(item, app, report)
    for entry in items_at(app.container.node, "env"):
        value = find(entry, "value")
        if isinstance(value, Scalar) and (variable is None or text_at(entry, "name") != variable[0]):
            _refuse_everywhere(value, app, report, with_port=True)
    return True


def _is_loopback(name: str, text: str, settings: Settings, report: Report) -> bool:
    if _LOOPBACK.search(text) and not _EVERYWHERE.search(text):
        return True
    report.problem(
        settings.given[name], f"{PREFIX}{name} does not bind to loopback alone: it needs 127.0.0.1 or localhost"
    )
    return False


def _refuse_everywhere(item: Scalar, app: Application, report: Report, *, with_port: bool = False) -> None:
    """A variable may be about anything, unless it has the port."""
    for found in _EVERYWHERE.finditer(item.text):
        if found["port"] == str(app.port) or (found["port"] is None and not with_port):
            report.problem(
                item,
                f"the container {app.container.name} still listens on {found[0]}: name the same flag in "
                f"{PREFIX}bind-args, the same variable in {PREFIX}bind-env, or change it here",
            )
            return


def _set_variable(
    app: Application, variable: tuple[str, str], settings: Settings, revision: Revision, report: Report
) -> None:
    name, value = variable
    entries = [entry for entry in items_at(app.container.node, "env") if text_at(entry, "name") == name]
    path = (*app.container.path, "env")
    if not entries:
        revision.extend(path, [{"name": name, "value": value}])
    elif find(entries[-1], "valueFrom") is not None:
        report.problem(
            settings.given["bind-env"],
            f"the variable {name} of the container {app.container.name} comes from elsewhere (valueFrom)",
        )
    elif find(entries[-1], "value") is None:
        revision.put((*path, {"name": name}, "value"), value)
    elif text_at(entries[-1], "value") != value:
        revision.replace((*path, {"name": name}, "value"), value)


def _add_arguments(
    app: Application, words: tuple[str, ...], settings: Settings, revision: Revision, report: Report
) -> set[Node]:
    """Put the words where the application's own flag of that name is, else behind all; returns what was replaced."""
    flag, value = _as_flag(words)
    for of in ("args", "command") if flag else ():
        items = items_at(app.container.node, of)
        for index, item in enumerate(items):
            text = item.text if isinstance(item, Scalar) else ""
            at = index + 1 if text == flag else index
            old = items[at] if at < len(items) else None
            head = "" if text == flag else f"{flag}="
            if isinstance(old, Scalar) and old.text.startswith(head) and _is_same(old.text.removeprefix(head), value):
                if old.text != head + value:
                    revision.replace((*app.container.path, of, at), head + value)
                return {old}
    if not any(isinstance(find(app.container.node, of), Node) for of in ("args", "command")):
        report.problem(
            settings.given["bind-args"],
            f"the container {app.container.name} has neither `command` nor `args`: arguments would take the place of "
            "those in its image, so write them out first",
        )
        return set()
    revision.extend((*app.container.path, "args"), list(words))
    return set()


def _is_same(old: str, new: str) -> bool:
    """Whether a flag means the same thing both times: of `-D a=b` and its like, there may be several."""
    name, is_named, _ = new.partition("=")
    return not is_named or old.partition("=")[0] == name


def _as_flag(words: tuple[str, ...]) -> tuple[str, str]:
    """`--host=x` and `--host x` as the flag and its value; no flag for anything else."""
    if len(words) == 1 and words[0].startswith("-") and "=" in words[0]:
        flag, _, value = words[0].partition("=")
        return flag, value
    if len(words) == 2 and words[0].startswith("-") and "=" not in words[0]:
        return words[0], words[1]
    return "", ""
