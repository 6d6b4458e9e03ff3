"""What every mapping of a policy file is made of: the base model, readers of text, words for errors.

A reader raises ValueError with a sentence that says what was expected and what was found; the loader adds the
place. Values that are already of the program's type pass, so that policies can also be built in code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema

_ACRONYMS = {"jwks": "JWKS", "cidrs": "CIDRs", "id": "ID", "ids": "IDs", "ip": "IP"}


def camel_case(name: str) -> str:
    """The name of an attribute as policy files spell it: `remote_jwks` is `remoteJWKS`."""
    first, *rest = name.split("_")
    return first + "".join(_ACRONYMS.get(word, word.capitalize()) for word in rest)


class Model(BaseModel):
    """A mapping in a policy file: frozen, no unknown keys, camelCase in the file, snake_case here."""

    model_config = ConfigDict(
        alias_generator=camel_case,
        arbitrary_types_allowed=True,
        extra="forbid",
        frozen=True,
        validate_by_alias=True,
        validate_by_name=True,
    )


def one_of(*keys: str) -> ConfigDict:
    """The configuration of a model that must have exactly one of `keys`, which its schema then says too."""
    return ConfigDict(json_schema_extra={"oneOf": [{"required": [key]} for key in keys]})


@dataclass(frozen=True, slots=True)
class Reading:
    """Passed as pydantic's context while a file is read: relative paths in it start at `folder`."""

    folder: str


def found(value: object) -> str:
    """What a file held, in words and at most about 60 characters."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {shorten(str(value))}"
        case str():
            return f'"{shorten(value)}"'
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
    return type(value).__name__


def shorten(text: str, most: int = 60) -> str:
    """`text` on one line, control characters escaped, cut after `most` characters."""
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in cut)


def read_as(
    kind: type | UnionType, parse: Callable[[str], Any], expected: str, **schema: Any
) -> tuple[PlainValidator, WithJsonSchema]:
    """The pydantic annotations of a value that files write as text and the program holds as a `kind`."""

    def read(value: object) -> Any:
        if isinstance(value, str):
            return parse(value)
        if isinstance(value, kind):
            return value
        hint = ": put it in quotes" if kind is str and isinstance(value, (bool, int, float)) else ""
        raise ValueError(f"expected {expected}, found {found(value)}{hint}")

    return PlainValidator(read), WithJsonSchema({"type": "string", **schema})


def written(default: Any, text: Any, **limits: Any) -> Any:
    """A field whose default is `default` in the program and `text` in a policy file."""
    return Field(default=default, json_schema_extra={"default": text}, **limits)


def short_for(key: str, kind: Any) -> BeforeValidator:
    """In a list, a bare string is short for a mapping with that string under `key`."""

    def read(value: object) -> object:
        return {key: value} if isinstance(value, str) else value

    return BeforeValidator(read, json_schema_input_type=kind | Annotated[str, Field(min_length=1)])


def unique(values: Iterable[str], what: str) -> None:
    """Raises ValueError where one of `values` comes twice."""
    for value, count in Counter(values).items():
        if count > 1:
            raise ValueError(f'{count} {what} have the name "{shorten(value)}"')
