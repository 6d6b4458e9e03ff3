"""One YAML document read as the model of its kind.

The kind is read first, so that the errors of a document are those of one type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import ValidationError

from wsguard.policy.model_base import Model, Reading, found
from wsguard.policy.problems import Problem, explain, nearest
from wsguard.policy.yaml_source import Node

M = TypeVar("M", bound=Model)


def read_document(
    node: Node, kinds: Mapping[str, type[M]], reading: Reading
) -> tuple[M | None, str | None, list[Problem]]:
    """The document, its kind and what is wrong with it; the first is None where anything is.

    The kind is None too where it is none of `kinds`.
    """
    kind = node.get("kind")
    if not isinstance(node.value, dict):
        message = f"expected a mapping with apiVersion, kind and spec, found {found(node.plain())}"
        return None, None, [Problem.at(node.place, message)]
    if kind is None:
        return None, None, [Problem.at(node.place, f'"kind" is missing: {" or ".join(kinds)}')]
    if not isinstance(kind, str) or kind not in kinds:
        near = nearest(kind, tuple(kinds)) if isinstance(kind, str) else None
        hint = f"; did you mean {near}?" if near else ""
        message = f"expected {' or '.join(kinds)}, found {found(kind)}{hint}"
        return None, None, [Problem.at(node.at(("kind",)), message)]
    problems = []
    if "apiVersion" not in node.value:
        problems.append(Problem.at(node.place, '"apiVersion" is missing: wsguard.dev/v1'))
    model = kinds[kind]
    try:
        return model.model_validate(node.plain(), by_alias=True, by_name=False, context=reading), kind, problems
    except ValidationError as error:
        return None, kind, [*problems, *explain(error, node, model)]
