"""How far a drain or a migration is: a line, drawn in place where there is a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WIDTH = 30  # of the bar
_BACK = "\r\x1b[K"


class Bar:
    """The progress, in place on stderr; nowhere but in a terminal."""

    def __init__(self) -> None:
        self._shown = False

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def draw(self, going: dict[str, Any]) -> None:
        import sys

        if sys.stderr.isatty():
            sys.stderr.write(f"{_BACK}{progress(going)}")
            sys.stderr.flush()
            self._shown = True

    def clear(self) -> None:
        import sys

        if self._shown:
            sys.stderr.write(_BACK)
            sys.stderr.flush()
            self._shown = False


def progress(going: Mapping[str, Any]) -> str:
    """One line that tells how far it is."""
    total, closed, eta = going["total"], going["closed"], going["eta"]
    done = _WIDTH * closed // total if total else _WIDTH
    bar = "#" * done + "." * (_WIDTH - done)
    return f"[{bar}] {closed} of {total} closed, {going['rate']:g}/s, {'paused' if eta is None else f'{eta} to go'}"
