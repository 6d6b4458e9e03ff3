"""Text as a tree with places."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from tests.kubernetes.strategies import STREAMS, written
from wsguard.kubernetes import reader
from wsguard.kubernetes.inject import inject
from wsguard.kubernetes.reader import is_json, read
from wsguard.kubernetes.tree import (
    Alias,
    Collection,
    Node,
    Scalar,
    Unreadable,
    children,
    find,
    items_at,
    text_at,
)


def leaves(node: Node) -> list[tuple[int, int, str]]:
    """Every scalar with its place."""
    if isinstance(node, Scalar):
        return [(node.start, node.end, node.text)]
    return [leaf for child in children(node) for leaf in leaves(child)]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STREAMS.flatmap(written))
def test_both_parsers_see_the_same_at_the_same_places(text: str) -> None:
    found = []
    with pytest.MonkeyPatch.context() as patch:
        for parser in (yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            patch.setattr(reader, "_PARSER", parser)
            found.append([(document.start, leaves(document.root)) for document in read(text)])
    assert found[0] == found[1]


def test_a_scalar_is_where_it_stands() -> None:
    text = "# ü\na: &x 'b c'\nd:\n- \"e\\n\" # f\n- |\n  g\n\n# h\n"
    (document,) = read(text)
    assert [text[start:end] for start, end, _ in leaves(document.root)] == ["&x 'b c'", '"e\\n"', "|\n  g\n\n"]
    assert [said for _, _, said in leaves(document.root)] == ["b c", "e\n", "g\n"]


def test_aliases_and_merge_keys_are_followed() -> None:
    text = "base: &base {port: 1, name: x}\none: {<<: *base, port: 2}\ntwo: {<<: [{a: b}, *base]}\n"
    text += "same: *base\nlist: [*base]\n"
    (document,) = read(text)
    root = document.root
    assert (text_at(root, "one", "port"), text_at(root, "one", "name")) == ("2", "x")
    assert (text_at(root, "two", "a"), text_at(root, "two", "port")) == ("b", "1")
    assert text_at(root, "same", "port") == "1"
    assert text_at(items_at(root, "list")[0], "name") == "x"
    assert isinstance(root, Collection)
    assert isinstance(children(root)[3], Alias)
    assert find(root, "base", "port", "none") is None


def test_a_merge_key_that_merges_itself_ends() -> None:
    (document,) = read("a: &a {<<: {<<: {b: c}}}\nd: *a\n")
    assert text_at(document.root, "d", "b") == "c"
    with pytest.raises(Unreadable, match="stands for nothing"):
        read("a: &a {<<: *a}\n")


def test_keys_that_stand_twice_are_noted() -> None:
    (first, second) = read("a: 1\na: 2\n---\n<<: {}\n<<: {}\n")
    assert [key.start for key in first.duplicates] == [5]
    assert second.duplicates == []


def test_json_may_be_indented_with_tabs() -> None:
    (document,) = read('{\n\t"a":\t"b\\tc"\n}')
    assert text_at(document.root, "a") == "b\tc"
    assert not is_json("{a: b}")


def test_a_bomb_of_aliases_is_not_expanded() -> None:
    lines = ["a0: &a0 {x: y}", *(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 60)), "<<: *a59"]
    assert inject("\n".join(lines), "x.yaml").problems == ()
