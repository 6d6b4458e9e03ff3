from __future__ import annotations

import pytest
import yaml

from wsguard.policy import yaml_source
from wsguard.policy.yaml_source import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_PROBLEMS,
    SourceText,
    read_documents,
    resolve,
)


@pytest.fixture(params=["CSafeLoader", "SafeLoader"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything here holds with libyaml and without."""
    if not hasattr(yaml, request.param):
        pytest.skip("PyYAML was built without libyaml")
    monkeypatch.setattr(yaml_source, "_PARSER", getattr(yaml, request.param))


def plain(text: str | bytes) -> list[object]:
    documents, errors = read_documents(SourceText("f.yaml", text))
    assert errors == []
    return [document.plain() for document in documents]


def complaints(text: str | bytes) -> list[str]:
    return [f"{error.place}: {error.why}" for error in read_documents(SourceText("f.yaml", text))[1]]


def test_reads_documents_and_skips_empty_ones() -> None:
    assert plain("a: 1\n---\n---\n# nothing\n---\n- b\n") == [{"a": 1}, ["b"]]
    assert plain("") == []
    assert plain(b"\xef\xbb\xbfa: b") == [{"a": "b"}]


def test_a_place_counts_from_one_in_characters() -> None:
    (document,), _ = read_documents(SourceText("f.yaml", "é: {key: [x, ü, value]}\n"))
    assert str(document.at(("é",))) == "f.yaml:1:4"
    assert str(document.at(("é", "key"), of_key=True)) == "f.yaml:1:5"
    assert str(document.at(("é", "key", 2))) == "f.yaml:1:17"
    assert str(document.at(("é", "key", 7))) == "f.yaml:1:10", "as far as the path is there"
    assert str(document.at(("other",))) == "f.yaml:1:1"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("12", 12),
        ("-3", -3),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("yes", "yes"),
        ("on", "on"),
        ("Off", "Off"),
        ("n", "n"),
        ("1:30", "1:30"),
        ("190:20:30", "190:20:30"),
        ("0x10", "0x10"),
        ("0o7", "0o7"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        ("2024-01-01", "2024-01-01"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_a_plain_scalar_is_what_it_looks_like(text: str, value: object) -> None:
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)
    assert plain(f"k: {text}") == [{"k": value}]
    assert plain(f'k: "{text}"') == [{"k": text}]


def test_keys_are_text_whatever_they_look_like() -> None:
    assert plain("1: a\ntrue: b\n4440: c") == [{"1": "a", "true": "b", "4440": "c"}]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: 1\nb: 2\na: 3", 'f.yaml:3:1: duplicate key "a", first given on line 1'),
        ("a: {b: 1, b: 1}", 'f.yaml:1:11: duplicate key "b", first given on line 1'),
        ("a: &x 1", "f.yaml:1:4: anchors (&x) are not supported: write the value out"),
        ("a: !!python/object:os.system ls", "f.yaml:1:4: tags (tag:yaml.org,2002:python/object:os.system) are not"),
        ("a: !local b", "f.yaml:1:4: tags (!local) are not supported"),
        ("<<: {a: 1}", "f.yaml:1:1: merge keys (<<) are not supported: write the keys out"),
        ("a:\n  b:\n", 'f.yaml:2:5: "b" has no value: give it one or leave the key out'),
        ("a: ~", 'f.yaml:1:4: "a" has no value'),
        ("- a\n-\n", "f.yaml:2:2: an item of the list has no value"),
        ("? {a: b}\n: c", "f.yaml:1:3: a key must be text"),
        ("? [a]\n: c", "f.yaml:1:3: a key must be text"),
        ("a: [", "this is not YAML"),
        ("a: b: c", "f.yaml:1:5: this is not YAML: mapping values are not allowed"),
        ("a: @b", "this is not YAML"),
        ("%YAML 3.0\n---\na: b", "this is not YAML: found incompatible YAML document"),
        ("a: b\n\x00", "f.yaml:2:1: the character U+0000 has no place in a policy file"),
        ("a: \x1b[31m", "f.yaml:1:4: the character U+001B has no place in a policy file"),
        ("a: \ud800", "f.yaml:1:4: the character U+D800 has no place in a policy file"),
        (b"a: b\nc: \xff", "f.yaml:2:4: the file is not UTF-8: invalid start byte"),
        (b"\xff\xfea\x00", "f.yaml:1:1: the file is not UTF-8"),
        (" " * (MAX_BYTES + 1), f"f.yaml:1:1: the file has more than {MAX_BYTES} bytes"),
        ("[" * 100_000, f"f.yaml:1:{MAX_DEPTH + 1}: mappings and lists nest deeper than {MAX_DEPTH}"),
        ("{a: " * 100_000, f"mappings and lists nest deeper than {MAX_DEPTH}"),
        ("- " * 100_000, f"mappings and lists nest deeper than {MAX_DEPTH}"),
    ],
)
def test_says_where_and_what(text: str | bytes, complaint: str) -> None:
    found = complaints(text)
    assert len(found) == 1
    assert complaint in found[0]


def test_the_number_of_values_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_source, "MAX_VALUES", 10)
    assert complaints("[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]") == ["f.yaml:1:29: the file has more than 10 values"]


def test_an_alias_is_refused_beside_its_anchor() -> None:
    assert complaints("a: &x {b: 1}\nc: *x") == [
        "f.yaml:1:4: anchors (&x) are not supported: write the value out",
        "f.yaml:2:4: aliases (*x) are not supported: write the value out",
    ]


def test_says_all_that_is_wrong_up_to_a_bound() -> None:
    assert len(complaints("a: {x: 1, x: 1, y: ~}\nb: !t 1\n")) == 3
    found = complaints("".join(f"- {{k{i}: ~}}\n" for i in range(MAX_PROBLEMS * 3)))
    assert len(found) == MAX_PROBLEMS
    assert "too many problems" in found[-1]


def test_what_stands_before_a_break_is_read() -> None:
    documents, errors = read_documents(SourceText("f.yaml", "a: 1\n---\nb: [\n"))
    assert [document.plain() for document in documents] == [{"a": 1}], "and no half document"
    assert len(errors) == 1
