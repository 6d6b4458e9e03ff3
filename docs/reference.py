"""The fields of policy files as Markdown, from the same schema that `wsguard schema` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from wsguard.policy.schema import json_schema

Schema = Mapping[str, Any]


def fields(kind: str) -> str:
    """A section for each mapping in `spec` of `kind`, with a row a field."""
    definitions = json_schema(kind)["$defs"]
    return "\n".join(_sections(definitions[kind]["properties"]["spec"], "spec", definitions))


def _sections(schema: Schema, path: str, definitions: Schema) -> Iterator[str]:
    mapping = _resolved(schema, definitions)
    yield f"#### `{path}`\n"
    yield f"{mapping['description']}\n"
    yield "| field | value | default | |\n| --- | --- | --- | --- |"
    required = mapping.get("required", [])
    for name, field in mapping["properties"].items():
        default = "required" if name in required else _default(field)
        yield f"| `{name}` | {_kind(field, definitions)} | {default} | {_line(field, definitions)} |"
    yield ""
    for name, field in mapping["properties"].items():
        for inner, suffix in _mappings_in(field, definitions):
            yield from _sections(inner, f"{path}.{name}{suffix}", definitions)


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    reference = schema.get("$ref")
    return definitions[reference.rpartition("/")[2]] if reference else schema


def _mappings_in(field: Schema, definitions: Schema) -> Iterator[tuple[Schema, str]]:
    """The mappings that a field, or each item of a list, may hold; with `[]` for a list, and each one's `type`."""
    for option in _options(field):
        resolved = _resolved(option, definitions)
        if resolved.get("type") == "array":
            yield from ((inner, f"[]{suffix}") for inner, suffix in _mappings_in(resolved["items"], definitions))
        elif "properties" in resolved:
            kind = resolved["properties"].get("type", {}).get("const")
            yield resolved, "" if kind is None else f" ({kind})"


def _options(field: Schema) -> list[Schema]:
    """What a field may be: one of several, where it has no other members of its own to say what it is."""
    options: list[Schema] = field.get("anyOf") or (field.get("oneOf") if "properties" not in field else None) or [field]
    return options


def _kind(field: Schema, definitions: Schema) -> str:
    options = [_resolved(option, definitions) for option in _options(field)]
    words = []
    for option in options:
        if "enum" in option or "const" in option:
            words.append(", ".join(f"`{value}`" for value in option.get("enum", [option.get("const")])))
        elif option.get("type") == "array":
            words.append(f"list of {_kind(option['items'], definitions)}")
        elif "oneOf" in option and "properties" not in option:
            words.append("mapping")
        elif option.get("type") != "null":
            words.append("mapping" if "properties" in option else str(option.get("type", "string")))
    return " or ".join(dict.fromkeys(words))


def _default(field: Schema) -> str:
    default = field.get("default")
    if default in (None, [], {}) or isinstance(default, Mapping):
        return ""
    return f"`{', '.join(map(str, default))}`" if isinstance(default, list) else f"`{_word(default)}`"


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _line(field: Schema, definitions: Schema) -> str:
    text = field.get("description") or _resolved(field, definitions).get("description", "")
    return " ".join(str(text).split()).replace("|", "\\|")
