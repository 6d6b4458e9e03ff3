"""The log: one line an event on stdout, JSON or text, with no secret and no control character in it."""

from __future__ import annotations

import json
import logging
import time
import traceback
from pathlib import Path
from typing import Any, Literal

from wsguard.ops.audit_file import AuditFile
from wsguard.ops.log_writer import LineWriter
from wsguard.ops.redact import printable, timestamp

Format = Literal["json", "text"]

_HOME = Path(__file__).parents[2]
_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode


class Log:
    """Where the guard says what it does: events by name, their fields named as in the records they tell of.

    `level` is a name of the logging module, in any case. Audit events (who was let in, who was not, what was cut, what
    an operator did) bear the `revision` of the policies in force, and go into `audit_file` where there is one. Events
    do not pass through that module: it costs as much as all the rest of a line. What libraries and plain loggers say
    comes in by `install`.
    """

    def __init__(
        self, writer: LineWriter, level: str = "info", form: Format = "json", audit_file: AuditFile | None = None
    ) -> None:
        self.revision: str | None = None
        self._writer = writer
        self._audit_file = audit_file
        self.configure(level, form)

    def configure(self, level: str, form: Format) -> None:
        """Log from `level` on, written as `form`, from now on."""
        self._level = logging.getLevelNamesMapping()[level.upper()]
        self._form = form
        logging.getLogger("wsguard").setLevel(self._level)

    @property
    def dropped(self) -> int:
        """How many lines were lost because the reader stalled or left."""
        return self._writer.dropped + (self._audit_file.dropped if self._audit_file is not None else 0)

    def event(self, name: str, level: int = logging.INFO, /, **fields: object) -> None:
        """Log one event. `fields` are JSON values; one that is None says nothing and is left out."""
        if level >= self._level:
            self._say(time.time(), level, name, fields)

    def tells_audit(self, level: int) -> bool:
        """Whether an audit event of `level` is written: asked first where its fields cost something to make."""
        return self._audit_file is not None or level >= self._level

    def audit(self, name: str, level: int = logging.INFO, /, **fields: object) -> None:
        """Log one audit event: into the audit file, whatever its level, where there is one."""
        fields["revision"] = self.revision
        if self._audit_file is not None:
            self._audit_file.write(_encode(_members(time.time(), level, name, fields)))
        else:
            self.event(name, level, **fields)

    def reopen(self) -> None:
        """Go on in a new audit file, the old one having been moved away. Raises OSError: it is still the old one."""
        if self._audit_file is not None:
            self._audit_file.reopen()

    def install(self) -> None:
        """Take over Python's loggers: `wsguard` and below from this log's level on, of others warnings."""
        handler = _Bridge(self)
        logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)

    def close(self) -> None:
        """Write out what is queued, for at most a second each."""
        self._writer.close()
        if self._audit_file is not None:
            self._audit_file.close()

    def _say(self, moment: float, level: int, name: str, fields: dict[str, object]) -> None:
        members = _members(moment, level, name, fields)
        self._writer.write(_encode(members) if self._form == "json" else _text(members))


class _Bridge(logging.Handler):
    """Python's log records as events called `message`."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields: dict[str, object] = {"logger": record.name, "message": record.getMessage()}
            if record.exc_info and record.exc_info[1] is not None:
                fields |= describe(record.exc_info[1])
            self._log._say(record.created, record.levelno, "message", fields)
        except Exception:  # a line that cannot be formatted is reported on stderr, as every handler does
            self.handleError(record)


def _members(moment: float, level: int, name: str, fields: dict[str, object]) -> dict[str, Any]:
    members: dict[str, Any] = {"time": timestamp(moment), "level": logging.getLevelName(level).lower(), "event": name}
    for key, value in fields.items():
        if value is not None:
            members[key] = printable(value) if isinstance(value, str) else value
    return members


def describe(error: BaseException) -> dict[str, object]:
    """The fields `exception` (its type) and `traceback` (`file:line function`, the innermost last).

    Its message stays out: parsers put the header line that they choke on into theirs.
    """
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{_place(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames]
    return {"exception": type(error).__qualname__, "traceback": places}


def _place(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(_HOME) if path.is_relative_to(_HOME) else path)


def _text(members: dict[str, Any]) -> str:
    head = f"{members.pop('time')} {members.pop('level'):7} {members.pop('event')}"
    return " ".join([head, *(f"{name}={_word(value)}" for name, value in members.items())])


def _word(value: object) -> str:
    text = value if isinstance(value, str) else _encode(value)
    return text if text and not any(char in text for char in ' "=') else _encode(text)
