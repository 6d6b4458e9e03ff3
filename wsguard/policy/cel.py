"""Conditions in the Common Expression Language (https://cel.dev), read and type-checked when a policy loads.

Law: an expression that loads is a condition on declared variables, and whatever goes wrong when it is asked is an
answer, never an exception. Why it went wrong is told without quoting anything that a caller sent.

The library is the optional extra `[cel]`: it is imported with the first expression, and not before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from wsguard.policy.model_base import shorten

MAX_LENGTH = 1024
"""Characters of an expression."""

MAX_NESTING = 2
"""How deep `all`, `exists`, `exists_one` and `filter` may stand inside one another.

With `map` left out, nothing that is bound to a name grows with the depth of an expression: time and memory are bounded
by the expression, the 8 KiB of a token and the library's own 10,000 steps in all loops together.
"""


class Variable(NamedTuple):
    """What an expression may speak of: its CEL type, and a line for the documents."""

    type: str
    line: str


VARIABLES: Mapping[str, Variable] = {
    "claims": Variable("map<string, dyn>", "The verified claims; empty for an anonymous caller."),
    "issuer": Variable("string", "Who vouched for the caller; empty for an anonymous one."),
    "subject": Variable("string", "Who the caller is; empty for an anonymous one."),
    "scopes": Variable("list<string>", "The scopes in `scope` or `scp`."),
    "source": Variable("string", "Where the credential was found, such as `cookie:session`; empty: nowhere."),
    "request.host": Variable("string", "The host that was asked for, in lower case, without its port."),
    "request.path": Variable("string", "The path, percent-decoded, without the query."),
    "request.origin": Variable("string", "The Origin as it was sent; empty where none was."),
    "client_ip": Variable("string", "The client's address. Where it is not known, asking for it fails."),
    "client_cert.subject": Variable(
        "string", "The subject of the client's certificate, such as `CN=alice,O=Example`; empty where none was shown."
    ),
    "client_cert.sans": Variable(
        "list<string>", "Its other names, each with its kind: `DNS:`, `email:`, `URI:` or `IP:`."
    ),
    "now": Variable("timestamp", "The time of the judgement."),
}
"""Header fields are left out on purpose: they are the client's own word, and they carry secrets."""


@dataclass(frozen=True, slots=True)
class Unclear:
    """A condition that is neither true nor false. `why` quotes nothing that a caller sent."""

    why: str


@dataclass(frozen=True, slots=True)
class CelExpression:
    """A condition that has passed the type check, compiled once. Two of the same text are equal."""

    text: str
    _program: Any = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> CelExpression:
        """Compile `text`. Raises ValueError with a sentence that says where in the expression something is wrong."""
        if len(text) > MAX_LENGTH:
            raise ValueError(f"the expression has more than {MAX_LENGTH} characters")
        environment = _environment()
        _check_loops(text)
        try:
            program = environment.compile(text)
        except RuntimeError as error:  # the library has no class of its own
            raise ValueError(_complaint(str(error))) from None
        kind = program.return_type().name()
        if kind != "BOOL":
            hint = ": compare it with something" if kind == "DYN" else ""
            raise ValueError(f"expected a condition, the expression is of type {kind.lower()}{hint}")
        expression = cls(text, program)
        expression._try_out(environment)
        return expression

    def ask(self, variables: Activation) -> bool | Unclear:
        """Whether the condition holds."""
        try:
            answer = self._program.eval(variables.bound)
            if answer.type().name() == "BOOL":
                return bool(answer.value())
            return Unclear(_excuse(str(answer.value()), self.text))
        except Exception as error:  # what the library cannot convert or gives up on; it must not become an admission
            return Unclear(_excuse(str(error), self.text))

    def _try_out(self, environment: Any) -> None:
        """Ask it once of nobody: that plans the program, and finds what no check of types can find."""
        try:
            answer = str(self._program.eval(environment.Activation({"claims": {}, "issuer": ""})).value())
        except RuntimeError as error:
            raise ValueError(f"the expression cannot be run: {_first_line(str(error))}") from None
        if "invalid regular expression" in answer:
            raise ValueError(_first_line(answer))


class Activation:
    """The values of variables, converted once for all the expressions that are asked of one caller."""

    __slots__ = ("bound",)

    def __init__(self, values: Mapping[str, object]) -> None:
        """`values` by the names of VARIABLES; one that is left out is not known."""
        self.bound = _environment().Activation(dict(values))


@cache
def _environment() -> Any:
    """Raises ValueError where the extra is not installed."""
    try:
        from cel_expr_python import cel  # noqa: PLC0415  an optional extra, and 14 MB
    except ImportError:
        raise ValueError('cel needs an extra that is not installed: pip install "wsguard[cel]"') from None
    return cel.NewEnv(variables={name: cel.Type(variable.type) for name, variable in VARIABLES.items()})


# Reading the library's sentences.

_PLACED = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_MISSING_KEY = re.compile(r'NOT_FOUND: Key not found in map : "(.*)"', re.DOTALL)
_NO_OVERLOAD = re.compile(r"UNKNOWN: No matching overloads found : ([^\n]{1,100})")
_MOST_COMPLAINTS = 3


def _complaint(message: str) -> str:
    """Why an expression does not compile, with the places in it."""
    found = [(int(line), int(column), why) for line, column, why in _PLACED.findall(message)]
    if not found:
        return f"the expression does not compile: {_first_line(message)}"
    return "; ".join(dict.fromkeys(f"{_place(line, column)}{why}" for line, column, why in found[:_MOST_COMPLAINTS]))


def _place(line: int, column: int) -> str:
    if line < 1:
        return "the expression: "
    return f"column {column} of the expression: " if line == 1 else f"line {line}, column {column} of the expression: "


def _first_line(message: str) -> str:
    """Less the name of a status, which the library puts before and behind."""
    return re.sub(r"^[A-Z_]+: | \[[A-Z_]+\]$", "", message.partition("\n")[0])


def _excuse(message: str, text: str) -> str:
    """Why an expression has no answer. A key is quoted only where the expression itself spells it."""
    if missing := _MISSING_KEY.fullmatch(message):
        return f'there is no "{shorten(missing[1])}"' if missing[1] in text else "a key is not there"
    if overload := _NO_OVERLOAD.fullmatch(message):
        return f"types that do not go together: {overload[1]}"
    if "No value with name" in message:
        return "the client's address is not known"
    if "budget exceeded" in message:
        return "too many steps"
    return "a value is not what the expression takes it for"


# What the type check lets through, and the guard does not.

_OPAQUE = re.compile(
    r"""
    //[^\n]*                                                      # a comment
    | (?:[rR][bB]?|[bB][rR]) (?:\"{3}.*?\"{3} | '{3}.*?'{3} | "[^"\n]*" | '[^'\n]*')                     # raw
    | [bB]? (?:\"{3}(?:\\.|[^\\])*?\"{3} | '{3}(?:\\.|[^\\])*?'{3} | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*')
    """,
    re.DOTALL | re.VERBOSE,
)
_LOOP_OR_BRACKET = re.compile(r"\.\s*(all|exists|exists_one|filter|map)\s*\(|[(\[{]|[)\]}]")


def _check_loops(text: str) -> None:
    """Raises ValueError for a `map`, and for loops deeper in one another than MAX_NESTING."""
    brackets: list[bool] = []  # for each open one, whether it is a loop's
    for found in _LOOP_OR_BRACKET.finditer(_OPAQUE.sub(" ", text)):
        if found[1] == "map":
            raise ValueError("map is not offered: it makes values of any size; exists, all and filter are there")
        if found[0] in ")]}":
            del brackets[-1:]
            continue
        brackets.append(found[1] is not None)
        if sum(brackets) > MAX_NESTING:
            raise ValueError(f"{found[1]} stands inside more than {MAX_NESTING - 1} other loop")
