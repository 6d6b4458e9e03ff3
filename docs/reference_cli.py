"""The commands and the metrics as Markdown, from the parser and the registry that run."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from random import SystemRandom

from prometheus_client.metrics import MetricWrapperBase

from wsguard.cli import _parser
from wsguard.ops.drainer import Drainer
from wsguard.ops.log import Log
from wsguard.ops.log_writer import LineWriter
from wsguard.ops.metrics import Metrics
from wsguard.ops.migrator import Migrator
from wsguard.ops.scrape import Scrape, Sources
from wsguard.policy.model import Backend, Shutdown
from wsguard.process import SystemClock
from wsguard.proxy.backends import Backends
from wsguard.sessions.connection import Traffic
from wsguard.sessions.denylist import DenyList
from wsguard.sessions.registry import Registry

_NOWHERE = -1


def commands() -> str:
    """A section a command: what it is for, how it is called, a row an argument."""
    parser = _parser()
    (choices,) = (action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return "\n".join(line for name, command in choices.items() for line in _command(name, command))


def _command(name: str, command: argparse.ArgumentParser) -> Iterator[str]:
    actions = [action for action in command._actions if action.dest != "help"]
    yield f"#### `wsguard {name}`\n"
    yield f"{str(command.description)[0].upper()}{str(command.description)[1:]}.\n"
    if not actions:
        return
    yield "| argument | |\n| --- | --- |"
    for action in actions:
        yield f"| {_spelt(action)} | {_help(action)} |"
    yield ""


def _spelt(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    if not action.option_strings:
        dots = "…" if action.nargs in ("+", "*") else ""
        return f"`{action.metavar or action.dest}{dots}`"
    return ", ".join(f"`{option}{value}`" for option in action.option_strings)


def _help(action: argparse.Action) -> str:
    text = (action.help or "").replace("%(default)s", str(action.default)).replace("|", "\\|")
    return text[:1].upper() + text[1:]


def metrics() -> str:
    """A row a metric: its name with its labels, its type, what it counts."""
    log = Log(LineWriter(_NOWHERE))
    registry, denylist, clock = Registry(), DenyList(), SystemClock()
    drainer = Drainer(registry, clock, SystemRandom(), log, lambda: None, Shutdown)
    backends = Backends((Backend(url="http://127.0.0.1:3000"),), clock)
    migrator = Migrator(registry, backends, drainer, clock, SystemRandom(), log, Shutdown)
    sources = Sources(registry, denylist, drainer, clock, lambda: 0, lambda: 0, lambda: 0, migrator)
    kept = [each for each in vars(Metrics(sources)).values() if isinstance(each, MetricWrapperBase)]
    rows = [(each._name, each._type, each._documentation, each._labelnames) for each in kept]
    read_when_asked = Scrape(sources, lambda: Traffic(0, 0, 0, 0)).collect()
    rows += [(each.name, each.type, each.documentation, getattr(each, "_labelnames", ())) for each in read_when_asked]
    lines = ["| metric | type | |\n| --- | --- | --- |"]
    for name, kind, text, labels in sorted(rows):
        whole = f"{name}_total" if kind == "counter" else name
        lines.append(f"| `{whole}{{{','.join(labels)}}}` | {kind} | {text} |".replace("{}", ""))
    return "\n".join(lines) + "\n"
