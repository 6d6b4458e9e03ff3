"""What a client has said that may be said again to another backend, so that its subscriptions come back.

Only messages of which a rule says that they are safe to repeat are kept. A rule that cannot keep all that belongs
together says so (`problem`): a connection that would come back with half of its subscriptions is not to be held.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

from wsguard.protocol.client_frames import Frames, Piece, payload
from wsguard.protocol.frames import Opcode
from wsguard.protocol.strict_json import parse_object

MOST_BYTES = 65_536
"""Bytes that are kept of one connection, and the greatest length of a message that is looked at."""


class Rule(Protocol):
    """Which messages are kept."""

    @property
    def greeting(self) -> bytes:
        """What is said first of all, and answered before anything else may be said; or nothing."""
        ...

    @property
    def kept(self) -> Sequence[bytes]:
        """Whole messages, as they came, in their order."""
        ...

    @property
    def problem(self) -> str | None:
        """Why they are not all that belongs together."""
        ...

    @property
    def is_done(self) -> bool:
        """Whether nothing that comes can change them any more."""
        ...

    def hear(self, message: dict[str, Any] | None, raw: bytes) -> None:
        """A message; None: it is no JSON object in text."""
        ...


class FirstMessages:
    """Of the first `count` messages those with one of `values` at `path`, keys with dots between them."""

    greeting = b""

    def __init__(self, count: int, path: str, values: Sequence[str]) -> None:
        self._left = count
        self._path = path.split(".")
        self._values = frozenset(values)
        self.kept: list[bytes] = []
        self.problem: str | None = None

    @property
    def is_done(self) -> bool:
        """After the last of the first."""
        return self._left <= 0

    def hear(self, message: dict[str, Any] | None, raw: bytes) -> None:
        """One of the first."""
        self._left -= 1
        value: Any = message
        for key in self._path:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str) and value in self._values:
            self.kept.append(raw)


_OPERATIONS = re.compile(r"\b(?:query|mutation|subscription|fragment)\b")


class Subscriptions:
    """`graphql-transport-ws`: the connection_init, a greeting, and every subscription that the client has not ended.

    Never a query or a mutation. A document is a subscription where it begins with the word and has none of its like in
    it, and none where it lacks the word: of any other (several operations, fragments, a hash in place of a document) it
    cannot be told which operation runs, and so neither whether it may run twice nor whether it must come back.
    """

    is_done = False

    def __init__(self, most: int) -> None:
        self._most = most
        self.greeting = b""
        self._by_id: dict[str, bytes] = {}
        self.problem: str | None = None

    @property
    def kept(self) -> list[bytes]:
        """The subscriptions."""
        return list(self._by_id.values())

    def hear(self, message: dict[str, Any] | None, raw: bytes) -> None:
        """A message of the protocol, or something that is none."""
        message = message or {}
        kind, name = message.get("type"), message.get("id")
        if kind == "connection_init":
            self.greeting = self.greeting or raw
        elif kind == "complete" and isinstance(name, str):
            self._by_id.pop(name, None)
        elif kind == "subscribe" and isinstance(name, str):
            self._subscribe(name, message.get("payload"), raw)

    def _subscribe(self, name: str, request: Any, raw: bytes) -> None:
        query = request.get("query") if isinstance(request, dict) else None
        words = _OPERATIONS.findall(query) if isinstance(query, str) else ["subscription", "?"]
        if "subscription" not in words:
            return
        if words != ["subscription"] or not str(query).lstrip().startswith("subscription"):
            self.problem = "a client's operation that may be a subscription cannot be told from others"
        elif len(self._by_id) >= self._most and name not in self._by_id:
            self.problem = f"more than {self._most} subscriptions were under way at once"
        else:
            self._by_id[name] = raw


class Recorder:
    """Is fed what a client has sent to its backend, and gives each message to `rule`."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._overflow = False
        self.begin_anew()

    def begin_anew(self) -> None:
        """What comes next begins a message: whatever was under way has not reached anybody."""
        self._frames = Frames()
        self._raw, self._frame, self._payload = bytearray(), bytearray(), bytearray()
        self._is_text = False

    @property
    def greeting(self) -> bytes:
        """What is to be said first of all, and answered before the rest may be said; or nothing."""
        return self._rule.greeting

    @property
    def messages(self) -> Sequence[bytes]:
        """What is to be said again, whole messages as they came."""
        return self._rule.kept

    @property
    def problem(self) -> str | None:
        """Why that is not all that belongs together; None: it is."""
        if self._overflow:
            return f"what would have to be said again is longer than {MOST_BYTES} bytes"
        return self._rule.problem

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to listen to."""
        return self._overflow or self._rule.problem is not None or self._rule.is_done

    def feed(self, data: bytes) -> None:
        """Bytes that have gone on to the backend."""
        if self.is_done:
            return
        for piece in self._frames.feed(data):
            if piece.opcode < Opcode.CLOSE:
                self._hear(piece)
            if self.is_done:
                self.begin_anew()  # and hold on to nothing that is not repeated
                return

    def _hear(self, piece: Piece) -> None:
        if piece.begins and piece.opcode != Opcode.CONTINUATION:
            self._is_text = piece.opcode == Opcode.TEXT
        if self._is_text:
            self._frame += piece.data
            if len(self._raw) + len(self._frame) > MOST_BYTES:
                self._overflow = True
                return
        if piece.ends and self._is_text:
            self._raw += self._frame
            self._payload += payload(bytes(self._frame))
            self._frame.clear()
        if piece.ends and piece.fin:
            self._rule.hear(_object(bytes(self._payload)) if self._is_text else None, bytes(self._raw))
            self._raw.clear()
            self._payload.clear()
            self._overflow = len(self._rule.greeting) + sum(map(len, self._rule.kept)) > MOST_BYTES


def is_welcome(text: bytes | None) -> bool | None:
    """Whether a backend's message answers the greeting; None: it has nothing to do with that."""
    kind = (_object(text or b"") or {}).get("type")
    return None if kind in ("ping", "pong") else kind == "connection_ack"


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        return parse_object(text)
    except ValueError:
        return None
