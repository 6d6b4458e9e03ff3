from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from wsguard.policy.schema import KINDS, json_schema


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object in `schema`, itself first."""
    if isinstance(schema, dict):
        yield schema
        for part in schema.values():
            yield from parts(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from parts(part)


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_is_complete_in_itself(kind: str | None) -> None:
    schema = json_schema(kind)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    references = {part["$ref"] for part in parts(schema) if "$ref" in part}
    assert references == {f"#/$defs/{name}" for name in schema["$defs"]}


def test_one_kind_or_all() -> None:
    assert json_schema("GuardConfig")["oneOf"] == [{"$ref": "#/$defs/GuardConfig"}]
    assert len(json_schema()["oneOf"]) == len(KINDS) == 3
    with pytest.raises(KeyError):
        json_schema("ConfigMap")


def test_a_document_says_what_it_is() -> None:
    for name in KINDS:
        document = json_schema(name)["$defs"][name]
        assert {"apiVersion", "kind", "spec"} <= set(document["required"])
        assert document["properties"]["kind"]["const"] == name


def test_mappings_are_closed_and_described_and_know_no_null() -> None:
    for part in parts(json_schema()):
        if part.get("type") == "object" and "properties" in part:
            assert part["additionalProperties"] is False
            assert part["description"]
            for field in part["properties"].values():
                assert "description" in field or "$ref" in field
        assert part.get("type") != "null"


def test_durations_are_text_of_one_form() -> None:
    session = json_schema()["$defs"]["Session"]["properties"]
    duration = session["maxConnectionDuration"]
    assert (duration["type"], duration["default"]) == ("string", "24h")
    assert all(re.search(duration["pattern"], example) for example in duration["examples"])
    assert not re.search(duration["pattern"], "30")


def test_a_bare_string_is_short_for_a_source() -> None:
    cookies = json_schema()["$defs"]["ExtractFrom"]["properties"]["cookies"]
    assert {"$ref": "#/$defs/CookieSource"} in cookies["items"]["anyOf"]
    assert {"type": "string", "minLength": 1} in cookies["items"]["anyOf"]


def test_one_source_of_keys() -> None:
    assert json_schema()["$defs"]["JwtProvider"]["oneOf"] == [
        {"required": ["remoteJWKS"]},
        {"required": ["localJWKS"]},
        {"required": ["localSecretFile"]},
    ]


def test_defaults_are_such_as_a_file_can_say() -> None:
    definitions = json_schema()["$defs"]
    assert definitions["OriginSpec"]["properties"]["allowOrigins"]["default"] == ["SameHost"]
    assert definitions["Listener"]["properties"]["address"]["default"] == "127.0.0.1:8080"
    assert definitions["OriginSpec"]["properties"]["missing"]["default"] == "DenyWithCookie"
    assert "default" not in definitions["PolicySpec"]["properties"]["jwt"]
