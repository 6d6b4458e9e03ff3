"""The sentence below each field of a model, read from the source where somebody wants to read it.

pydantic can read them as it makes a class (`use_attribute_docstrings`), but that costs every start of the guard a fifth
of its time, and only schemas and docs show them.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import cache

from wsguard.policy.model_base import Model


@cache
def sentences(model: type[Model]) -> Mapping[str, str]:
    """What each field of `model` is, by the field's name; its own sentence goes before an inherited one."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, Model):
            found |= _of_module(base.__module__).get(base.__qualname__, {})
    return found


@cache
def _of_module(name: str) -> Mapping[str, Mapping[str, str]]:
    """By class, then by field."""
    tree = ast.parse(inspect.getsource(sys.modules[name]))
    return {node.name: dict(_of_class(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _of_class(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """A field is an annotated name; the string right below it is about it."""
    for field, below in zip(node.body, node.body[1:], strict=False):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            yield field.target.id, inspect.cleandoc(below.value.value)
