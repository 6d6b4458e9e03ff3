"""`make docs`: writes again, inside the documents, what the code already says.

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`; tests/docs/test_generated.py fails when
one is stale.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from docs.reference import fields
from docs.reference_cli import commands, metrics
from docs.reference_sizing import sizing
from wsguard.kubernetes.settings import ANNOTATIONS, PREFIX
from wsguard.policy.cel import VARIABLES
from wsguard.protocol.closing import http_status
from wsguard.protocol.profiles import Profile, code_for
from wsguard.protocol.reasons import Advice, CloseReason
from wsguard.sessions.lifecycle import TABLE

DOCS = Path(__file__).parent
_PART = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def close_reasons() -> str:
    """One row an ending: its word, its code, the HTTP status in its stead, and what the client should do."""
    rows = [
        (f"`{reason.token}`", _code(reason), _status(reason), reason.advice.value)
        for reason in CloseReason
        if reason.advice is not Advice.NOTHING
    ]
    silent = ", ".join(f"`{reason.token}`" for reason in CloseReason if reason.advice is Advice.NOTHING)
    table = _table(("reason", "close code", "HTTP status", "the client should"), rows)
    return f"{table}\nRecorded and never sent: {silent}.\n"


def close_profiles() -> str:
    """The codes of each profile, for the reasons that are sent."""
    profiles = list(Profile)
    rows = [
        (f"`{reason.token}`", *(str(code_for(profile, reason, 403)) for profile in profiles))
        for reason in CloseReason
        if reason.advice is not Advice.NOTHING
    ]
    header = ("reason", *(f"`{profile.value}`" for profile in profiles))
    return _table(header, rows) + "\n`backend-refused` is shown for a backend that answered 403.\n"


def client_codes() -> str:
    """A row an advice: the codes that give it, and the words that come with them."""
    asked: dict[Advice, dict[int, list[str]]] = {}
    for reason in CloseReason:
        if reason.advice not in (Advice.NOTHING, Advice.AS_STATUS_SAYS):
            asked.setdefault(reason.advice, {}).setdefault(reason.code, []).append(f"`{reason.token}`")
    rows = [
        (advice.value, "; ".join(f"{code} {', '.join(words)}" for code, words in sorted(codes.items())))
        for advice, codes in asked.items()
    ]
    return _table(("the client should", "on"), rows)


def lifecycle() -> str:
    """The state table as a table: a row a pair of phase and event."""
    rows = [
        (phase.value, event.value, after.value, ", ".join(command.value for command in commands) or "-")
        for (phase, event), (after, commands) in TABLE.items()
    ]
    return _table(("in phase", "when", "then phase", "and do"), rows)


def cel_variables() -> str:
    """A row a variable of the conditions in CEL."""
    rows = [(f"`{name}`", f"`{variable.type}`", variable.line) for name, variable in VARIABLES.items()]
    return _table(("variable", "type", ""), rows)


def inject_annotations() -> str:
    """A row an annotation that `wsguard inject` reads."""
    rows = [
        (f"`{PREFIX}{name}`", one.shown.replace("VERSION", "*version*"), one.line) for name, one in ANNOTATIONS.items()
    ]
    return _table(("annotation", "without it", ""), rows)


PARTS: dict[str, Callable[[], str]] = {
    "close-reasons": close_reasons,
    "close-profiles": close_profiles,
    "client-codes": client_codes,
    "lifecycle": lifecycle,
    "cel-variables": cel_variables,
    "policy-fields": partial(fields, "WebSocketPolicy"),
    "guard-fields": partial(fields, "GuardConfig"),
    "commands": commands,
    "annotations": inject_annotations,
    "metrics": metrics,
    "sizing": sizing,
}


def refreshed(text: str) -> str:
    """`text` with every generated part written anew. Raises KeyError for a part that nobody writes."""
    return _PART.sub(lambda found: found[1] + "\n" + PARTS[found["name"]]() + "\n" + found[3], text)


def _code(reason: CloseReason) -> str:
    return "4000 + status" if reason is CloseReason.BACKEND_REFUSED else str(reason.code)


def _status(reason: CloseReason) -> str:
    return "the backend's" if reason is CloseReason.BACKEND_REFUSED else str(http_status(reason))


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(header), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def main() -> None:
    """Refresh every document in this folder."""
    for path in sorted(DOCS.glob("**/*.md")):
        path.write_text(refreshed(path.read_text()))


if __name__ == "__main__":
    main()
