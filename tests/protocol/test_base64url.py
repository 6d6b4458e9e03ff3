from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsguard.protocol import base64url


@given(st.binary())
def test_what_is_encoded_is_decoded(data: bytes) -> None:
    text = base64url.encode(data)
    assert base64url.decode(text) == data
    assert "=" not in text


@pytest.mark.parametrize(
    "text",
    ["QQ==", "Q", "QR", "QUJ", "Q Q", "QQ\n", "Q+Q/", "QQ.QQ", "QÄ", "\ud800", "QQQQ=", "=", "----Q"],
    ids=repr,
)
def test_no_other_spelling_is_read(text: str) -> None:
    with pytest.raises(ValueError, match="not base64url"):
        base64url.decode(text)


@given(st.text())
def test_every_text_has_at_most_one_meaning(text: str) -> None:
    with suppress(ValueError):
        assert base64url.encode(base64url.decode(text)) == text
