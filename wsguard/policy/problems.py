"""What is wrong with policy files, in sentences: where, what was expected, what was found.

`explain` turns pydantic's errors into such sentences. An unknown key comes with the nearest known one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from wsguard.policy.model_base import Model, found, shorten
from wsguard.policy.yaml_source import MAX_PROBLEMS, Node, Place

_LONGEST_MESSAGE = 400


class Severity(Enum):
    """Whether a problem keeps the policies from being used."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong (an error), or legal but dangerous (a warning), at a place; one line."""

    file: str
    line: int
    column: int
    message: str
    severity: Severity = Severity.ERROR

    @classmethod
    def at(cls, place: Place, message: str, severity: Severity = Severity.ERROR) -> Problem:
        """A problem at `place`."""
        return cls(place.file, place.line, place.column, shorten(message, _LONGEST_MESSAGE), severity)

    def __str__(self) -> str:
        return f"{shorten(self.file, 4096)}:{self.line}:{self.column}: {self.severity.value}: {self.message}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has to say about a document: `path` leads to the value, by keys and numbers of list items."""

    path: tuple[str | int, ...]
    message: str
    severity: Severity = Severity.WARNING


def explain(error: ValidationError, node: Node, model: type[Model]) -> Iterator[Problem]:
    """Every error of `model` about `node`, at most MAX_PROBLEMS and one that says how many there are more."""
    details = [detail for detail in error.errors(include_url=False) if not _is_echo(detail)]
    for detail in details[:MAX_PROBLEMS]:
        yield Problem.at(_place(detail, node), _sentence(detail, model))
    if len(details) > MAX_PROBLEMS:
        yield Problem.at(node.place, f"{len(details) - MAX_PROBLEMS} more errors in this document")


def _is_echo(detail: ErrorDetails) -> bool:
    """A list is not too short because its items, of which there are errors already, did not validate."""
    return detail["type"] == "too_short" and bool(detail["input"])


def nearest(word: str, known: Sequence[str]) -> str | None:
    """The one of `known` that `word` was probably meant to be."""
    by_lower = {name.lower(): name for name in known}
    near = get_close_matches(word[:60].lower(), by_lower, n=1)
    return by_lower[near[0]] if near else None


def _place(detail: ErrorDetails, node: Node) -> Place:
    *path, last = detail["loc"] or ("",)
    if detail["type"] == "missing":
        return node.at(path)
    if last == "[key]":
        return node.at(path, of_key=True)
    return node.at((*path, last), of_key=detail["type"] == "extra_forbidden")


def _sentence(detail: ErrorDetails, model: type[Model]) -> str:
    value, context = detail["input"], detail.get("ctx", {})
    match detail["type"]:
        case "missing":
            return f'"{detail["loc"][-1]}" is missing'
        case "extra_forbidden":
            return _unknown(str(detail["loc"][-1]), _model_at(model, detail["loc"][:-1]))
        case "value_error":
            return str(context["error"])
        case "union_tag_not_found":
            return '"type" is missing'
        case "union_tag_invalid":
            return _none_of(context["tag"], context["expected_tags"])
        case "enum" | "literal_error":
            return _none_of(value, context["expected"])
        case "too_short":
            return "expected at least one item, found an empty list"
        case "too_long":
            return f"expected at most {context['max_length']} items, found more"
        case "greater_than_equal":
            return f"expected a number of at least {context['ge']}, found {found(value)}"
        case kind if kind in _EXPECTED:
            return f"expected {_EXPECTED[kind]}, found {found(value)}"
    return f"{detail['msg']}, found {found(value)}"


_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "int_type": "a whole number",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "string_type": "text",
    "tuple_type": "a list",
}


def _unknown(key: str, model: type[Model]) -> str:
    known = [field.alias or name for name, field in model.model_fields.items()]
    near = nearest(key, known)
    hint = f"did you mean {near}?" if near else f"known here: {', '.join(known)}"
    return f'unknown key "{shorten(key)}"; {hint}'


def _none_of(value: object, expected: str) -> str:
    words = [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]
    near = nearest(value, words) if isinstance(value, str) else None
    hint = f"; did you mean {near}?" if near else ""
    return f"expected {' or '.join(words)}, found {found(value)}{hint}"


def _model_at(model: type[Model], path: Sequence[str | int]) -> type[Model]:
    """The model of the mapping that `path` leads to; of several in one place the word of its `type` picks one."""
    choice = [model]
    for step in path:
        field = next((field for field in model.model_fields.values() if field.alias == step), None)
        if field is not None:
            choice = list(models_in(field.annotation)) or choice
        model = next((each for each in choice if step in _types(each)), model if model in choice else choice[0])
    return model


def models_in(annotation: Any) -> Iterator[type[Model]]:
    """The models in a type: itself, or those of its parts."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def _types(model: type[Model]) -> tuple[Any, ...]:
    """The words by which a mapping says, under `type`, that it is one of this model."""
    field = model.model_fields.get("type")
    return get_args(field.annotation) if field is not None else ()
