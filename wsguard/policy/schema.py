"""The policy language as JSON Schema (draft 2020-12), generated from the types, for editors and charts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import PydanticSerializationError, core_schema

from wsguard.policy.docstrings import sentences
from wsguard.policy.model import GuardConfig, WebSocketPolicy
from wsguard.policy.model_base import Model
from wsguard.policy.model_policy_test import PolicyTest
from wsguard.policy.problems import models_in

KINDS: Mapping[str, type[Model]] = {
    "WebSocketPolicy": WebSocketPolicy,
    "GuardConfig": GuardConfig,
    "PolicyTest": PolicyTest,
}
"""The kinds of document, as they are written under `kind`."""


class _Generator(GenerateJsonSchema):
    """Tells what a file may say: no nulls, no titles made from names, only defaults that a file can spell."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012  (pydantic's own type)

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def encode_default(self, dft: Any) -> Any:
        if dft is None or isinstance(dft, (BaseModel, tuple, dict)):
            raise PydanticSerializationError("a default of the program, which no file spells")
        return super().encode_default(dft)

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


def json_schema(kind: str | None = None) -> dict[str, Any]:
    """The schema of one kind of document, or of any. Raises KeyError for a kind that is not in KINDS."""
    models = tuple(KINDS.values()) if kind is None else (KINDS[kind],)
    references, generated = models_json_schema([(model, "validation") for model in models], schema_generator=_Generator)
    documents = [references[model, "validation"] for model in models]
    definitions = generated["$defs"]
    for model in models:  # they have defaults for policies built in code; a file says what it is
        document = definitions[model.__name__]
        document["required"] = ["apiVersion", "kind", *document["required"]]
    for model in _models(models):
        _describe(definitions[model.__name__], model)
    used = set(_reachable(documents, definitions))
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "oneOf": documents,
        "$defs": {name: definition for name, definition in definitions.items() if name in used},
    }


def _models(roots: Iterable[type[Model]]) -> set[type[Model]]:
    """`roots`, and every model that a field of theirs holds."""
    found: set[type[Model]] = set()
    waiting = list(roots)
    while waiting:
        model = waiting.pop()
        if model not in found:
            found.add(model)
            waiting += [inner for field in model.model_fields.values() for inner in models_in(field.annotation)]
    return found


def _describe(definition: dict[str, Any], model: type[Model]) -> None:
    """Say what each field is."""
    told = sentences(model)
    for name, field in model.model_fields.items():
        if name in told:
            definition["properties"][field.alias or name]["description"] = told[name]


def _reachable(schema: Any, definitions: Mapping[str, Any]) -> Iterator[str]:
    """The names of the definitions that `schema` leads to; the types have no cycles."""
    if isinstance(schema, dict):
        if isinstance(reference := schema.get("$ref"), str):
            name = reference.rpartition("/")[2]
            yield name
            yield from _reachable(definitions[name], definitions)
        for part in schema.values():
            yield from _reachable(part, definitions)
    elif isinstance(schema, list):
        for part in schema:
            yield from _reachable(part, definitions)
