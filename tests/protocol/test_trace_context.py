from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsguard.protocol.http import Headers
from wsguard.protocol.trace_context import request_id, trace_id

TRACE = "0af7651916cd43dd8448eb211c80319c"
GOOD = f"00-{TRACE}-b7ad6b7169203331-01"


def fields(name: bytes, *values: str) -> Headers:
    return Headers(tuple((name, value.encode("latin-1")) for value in values))


@pytest.mark.parametrize("value", [GOOD, f" {GOOD}\t", f"cc-{TRACE}-b7ad6b7169203331-00-what-comes-later"])
def test_the_trace_that_a_request_is_part_of(value: str) -> None:
    assert trace_id(fields(b"Traceparent", value)) == TRACE


@pytest.mark.parametrize(
    "values",
    [
        (),
        (GOOD, GOOD),
        (GOOD.upper(),),
        (f"00-{'0' * 32}-b7ad6b7169203331-01",),
        (f"00-{TRACE}-{'0' * 16}-01",),
        (f"00-{TRACE}-b7ad6b7169203331",),
        (f"00-{TRACE}-b7ad6b7169203331-01more",),
    ],
)
def test_what_is_no_traceparent_names_no_trace(values: tuple[str, ...]) -> None:
    assert trace_id(fields(b"traceparent", *values)) is None


@pytest.mark.parametrize(
    ("values", "found"),
    [(("r-1",), "r-1"), (("",), None), (("a", "b"), None), (("x" * 129,), None), (("é",), None), (("a\tb",), None)],
)
def test_the_id_of_a_request_is_a_plain_word(values: tuple[str, ...], found: str | None) -> None:
    assert request_id(fields(b"X-Request-Id", *values)) == found


@given(st.lists(st.tuples(st.sampled_from((b"traceparent", b"x-request-id")), st.binary(max_size=80)), max_size=3))
def test_any_fields_get_an_answer(raw: list[tuple[bytes, bytes]]) -> None:
    headers = Headers(tuple(raw))
    assert trace_id(headers) is None or len(str(trace_id(headers))) == 32
    assert request_id(headers) is None or str(request_id(headers)).isprintable()
