"""What holds for every manifest: twice is once, there and back is nothing, and nothing else is touched."""

from __future__ import annotations

import json
from typing import Any

import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.kubernetes.strategies import DUMPER, OTHERS, STREAMS, Manifest, written
from wsguard.kubernetes.inject import Result, inject, uninject

TEXTS = STREAMS.flatmap(written)
RELAXED = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)


def injected(text: str) -> Result:
    """`text` with guards in it; what cannot be guarded is of no interest here."""
    result = inject(text, "x.yaml")
    assume(not result.problems)
    return result


def objects(text: str) -> list[Manifest]:
    """The manifests, of Lists and by themselves."""
    documents = [document for document in yaml.safe_load_all(text.replace("\t", " ")) if document is not None]
    return [item for document in documents for item in document.get("items", [document])]


@RELAXED
@given(TEXTS)
def test_injecting_twice_is_injecting_once(text: str) -> None:
    once = injected(text)
    twice = inject(once.text, "x.yaml")
    assert (twice.text, twice.problems) == (once.text, ())
    assert [note.message for note in twice.notes] == [note.message for note in once.notes]


@RELAXED
@given(TEXTS)
def test_what_is_taken_out_leaves_the_file_as_it_was(text: str) -> None:
    assert uninject(injected(text).text, "x.yaml").text == text


@RELAXED
@given(TEXTS, st.booleans())
def test_whatever_went_through_a_tool_meanwhile_means_the_same_again(text: str, as_json: bool) -> None:
    items = objects(injected(text).text)
    listed = {"apiVersion": "v1", "kind": "List", "items": items}  # as kubectl prints them
    through = json.dumps(listed, indent=4, sort_keys=True) if as_json else yaml.dump_all(items, Dumper=DUMPER)
    assert [bare(one) for one in objects(uninject(through, "x.yaml").text)] == [bare(one) for one in objects(text)]


@RELAXED
@given(TEXTS)
def test_the_guard_is_there_and_is_last(text: str) -> None:
    for one in objects(injected(text).text):
        if one["kind"] in ("Deployment", "StatefulSet", "DaemonSet"):
            assert one["spec"]["template"]["spec"]["initContainers"][-1]["name"] == "wsguard"


@RELAXED
@given(st.lists(OTHERS, min_size=1).flatmap(written))
def test_other_kinds_pass_byte_for_byte(text: str) -> None:
    result = inject(text, "x.yaml")
    assert (result.text, result.problems) == (text, ())
    assert [note.message for note in result.notes] == ["nothing here gets a guard"]


@RELAXED
@given(TEXTS, st.text(), st.integers(min_value=0))
def test_any_text_is_injected_or_has_problems_with_places(text: str, noise: str, at: int) -> None:
    at %= len(text)
    broken = text[:at] + noise + text[at:]
    result = inject(broken, "x.yaml")
    assert all(problem.line >= 1 and problem.column >= 1 for problem in result.problems)
    assert not result.problems or result.text == broken
    uninject(broken, "x.yaml")


def bare(value: Any) -> Any:
    """Without what says nothing: keys with no value, empty mappings and lists."""
    if isinstance(value, dict):
        inner = {key: bare(one) for key, one in value.items()}
        return {key: one for key, one in inner.items() if one not in (None, {}, [])}
    return [bare(one) for one in value] if isinstance(value, list) else value
