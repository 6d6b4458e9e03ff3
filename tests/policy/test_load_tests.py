from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsguard.policy.load_tests import load_tests
from wsguard.policy.yaml_source import SourceText
from wsguard.protocol.reasons import CloseReason

HEAD = "apiVersion: wsguard.dev/v1\nkind: PolicyTest\nmetadata: {name: t}\n"
SOUND = "{name: one, request: {url: 'ws://a/'}, expect: {result: admitted}}"


def problems(spec: str) -> list[str]:
    """What is wrong with a document of this spec, each with line and column."""
    return [str(each).removeprefix("x.test.yaml:") for each in load_tests(SourceText("x.test.yaml", HEAD + spec))[1]]


def test_a_sound_document_knows_where_each_test_stands() -> None:
    text = f"{HEAD}spec:\n  tests:\n  - {SOUND}\n  - {SOUND.replace('one', 'two')}\n"
    (written,), wrong = load_tests(SourceText("x.test.yaml", text))
    assert not wrong
    assert [str(written.place(trial)) for trial in written.test.spec.tests] == ["x.test.yaml:6:5", "x.test.yaml:7:5"]


def test_every_reason_can_be_expected() -> None:
    for reason in CloseReason:
        expect = f"{{name: one, request: {{url: 'ws://a/'}}, expect: {{result: refused, reason: {reason.token}}}}}"
        assert not problems(f"spec: {{tests: [{expect}]}}")


def trial(expect: str = "{result: admitted}", url: str = "ws://a/") -> str:
    """A spec with one test."""
    return (
        f"spec: {{tests: [{{name: x, request: {{url: '{url}'}}, expect: {expect}}}], tokens: {{ann: {{provider: p}}}}}}"
    )


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (
            f"spec: {{now: soon, tests: [{SOUND}]}}",
            '4:13: error: expected a time such as 2026-01-31T12:00:00Z, found "soon"',
        ),
        (f"spec: {{now: '2026-01-31T12:00:00', tests: [{SOUND}]}}", "which has no time zone"),
        ("spec: {tests: []}", "expected at least one item"),
        (trial("{result: refused, reason: orign-denied}"), "did you mean origin-denied?"),
        (trial("{result: admitted, code: 4403}"), "an admission has no code"),
        (trial("{result: refused, subject: ann}"), "are of admissions"),
        (trial("{result: http, added: {X-User: ann}}"), "a plain HTTP answer has a status and nothing else"),
        (trial("{result: http, reason: no-policy}"), "a plain HTTP answer has a status and nothing else"),
        (trial("{result: refused, code: true}"), "4:"),
        (trial("{result: refused, code: 4403.0}"), "4:"),
        (trial(url="ws://a/', headers: {'X User': a}, origin: 'http://a"), "the name of a header field"),
        (trial("{result: awaited, subject: ann}"), "are of admissions"),
        (trial("{result: awaited, reason: credential-missing}"), "what is awaited has no reason yet"),
        (trial(url="ws://a/?t=${anne}"), 'no token has the name "anne"; did you mean ann?'),
        (trial(url="ws://a/', firstMessage: '${anne}"), 'no token has the name "anne"; did you mean ann?'),
        (f"spec: {{tests: [{SOUND}, {SOUND}]}}", '2 tests have the name "one"'),
        (f"spec: {{tests: [{SOUND}], polices: [a]}}", "did you mean policies?"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(spec: str, sentence: str) -> None:
    (problem,) = problems(spec)
    assert sentence in problem


def test_another_kind_and_an_empty_file() -> None:
    (wrong,) = load_tests(SourceText("x.test.yaml", "apiVersion: wsguard.dev/v1\nkind: WebSocketPolicy\nspec: {}"))[1]
    assert "expected PolicyTest" in wrong.message
    (wrong,) = load_tests(SourceText("x.test.yaml", "# nothing\n"))[1]
    assert wrong.message == "there is no document here"


@given(st.text(max_size=200) | st.text(alphabet="{}[]:, \n-abr", max_size=200).map(lambda text: HEAD + text))
def test_any_text_gets_an_answer(text: str) -> None:
    written, wrong = load_tests(SourceText("x.test.yaml", text))
    assert written or wrong
