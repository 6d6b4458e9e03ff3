"""Manifests of applications that people run, and what becomes of them to the last byte."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import kubernetes_validate.utils
import pytest
import yaml

from tests.kubernetes.strategies import Manifest
from wsguard.kubernetes.inject import inject, uninject

GOLDEN = Path(__file__).parent / "golden"
GUARDED = sorted(GOLDEN.glob("*.guarded.*"))


def original(guarded: Path) -> Path:
    """The manifests that `guarded` was made of."""
    return guarded.with_name(guarded.name.replace(".guarded", ""))


def read(path: Path) -> str:
    """The text with its line breaks as they are."""
    return path.read_bytes().decode()


@pytest.mark.parametrize("path", GUARDED, ids=lambda path: path.name)
def test_they_are_guarded_as_written(path: Path) -> None:
    result = inject(read(original(path)), path.name)
    assert not result.problems
    assert result.text == read(path)


@pytest.mark.parametrize("path", GUARDED, ids=lambda path: path.name)
def test_they_come_back_as_they_were(path: Path) -> None:
    assert uninject(read(path), path.name).text == read(original(path))


@pytest.mark.parametrize("version", ["1.29", "1.37"])
@pytest.mark.parametrize("path", GUARDED, ids=lambda path: path.name)
def test_what_comes_out_fits_the_schemas(path: Path, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_validate.utils, "schema_contents", schema)
    for manifest in manifests(read(path)):
        assert kubernetes_validate.validate(manifest, version, strict=True) == version


@lru_cache(maxsize=64)
def schema(filename: str, version: str, contents: Any = kubernetes_validate.utils.schema_contents) -> Any:
    """The library reads and parses megabytes for each manifest."""
    return contents(filename, version)


def manifests(text: str) -> list[Manifest]:
    """The objects, those of a List by themselves."""
    documents = [json.loads(text)] if text.startswith("{") else list(yaml.safe_load_all(text))
    return [item for document in documents for item in document.get("items", [document])]
