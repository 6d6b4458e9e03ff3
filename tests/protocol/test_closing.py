"""What a close says, and what a refusal by status says instead. The codes here are the contract's, written out."""

from __future__ import annotations

import pytest

from tests.support import wire
from wsguard.protocol.closing import Codebook, close_frame, http_status
from wsguard.protocol.profiles import Profile
from wsguard.protocol.reasons import Advice, CloseReason

R = CloseReason


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        (R.ORIGIN_DENIED, 403),
        (R.HOST_DENIED, 403),
        (R.CREDENTIAL_MISSING, 401),
        (R.CREDENTIAL_EXPIRED, 401),
        (R.NOT_AUTHORIZED, 403),
        (R.NO_POLICY, 404),
        (R.SUBPROTOCOL_DENIED, 406),
        (R.FIRST_MESSAGE_TIMEOUT, 408),
        (R.TOO_MANY_CONNECTIONS, 429),
        (R.SESSION_EXPIRED, 401),
        (R.LOGGED_OUT, 401),
        (R.TERMINATED, 410),
        (R.DRAINING, 503),
        (R.MAX_DURATION, 503),
        (R.SLOW_CONSUMER, 503),
        (R.GUARD_FAULT, 500),
        (R.IDENTITY_UNAVAILABLE, 500),
        (R.BACKEND_UNREACHABLE, 502),
        (R.BACKEND_INVALID, 502),
        (R.BACKEND_TIMEOUT, 504),
        (R.BACKEND_LOST, 502),
    ],
)
def test_the_status_of_a_refusal(reason: CloseReason, status: int) -> None:
    assert http_status(reason) == status


@pytest.mark.parametrize(
    ("backend", "status"),
    [(200, 502), (204, 502), (302, 401), (401, 401), (403, 403), (503, 503), (599, 599), (999, 502)],
)
def test_the_status_of_a_backends_refusal(backend: int, status: int) -> None:
    """Its own where it is an error; a success that is no 101 is none."""
    assert http_status(R.BACKEND_REFUSED, backend) == status


def test_every_reason_that_is_sent_has_a_status_of_an_error() -> None:
    for reason in CloseReason:
        if reason.advice is not Advice.NOTHING:
            assert 400 <= http_status(reason) <= 599, reason


def test_a_code_of_the_policy_beats_the_profile_which_beats_the_shutdown() -> None:
    overrides = {R.DRAINING: 4321}
    assert Codebook().code(R.DRAINING) == 1012
    assert Codebook(draining_code=4444).code(R.DRAINING) == 4444
    assert Codebook(Profile.PUSHER, draining_code=4444).code(R.DRAINING) == 4200
    assert Codebook(Profile.PUSHER, overrides, draining_code=4444).code(R.DRAINING) == 4321
    assert Codebook(overrides=overrides, draining_code=4444).code(R.MAX_DURATION) == 1012
    assert Codebook(overrides={R.BACKEND_REFUSED: 4999}).code(R.BACKEND_REFUSED, 403) == 4999


def test_the_text_is_the_token_and_when_to_come_back() -> None:
    book = Codebook()
    assert book.text(R.ORIGIN_DENIED) == "origin-denied"
    assert book.text(R.ORIGIN_DENIED, retry_after=3.0) == "origin-denied", "nobody is asked back"
    assert book.text(R.DRAINING, retry_after=2.5) == "draining retry-after=2.5"
    assert book.text(R.DRAINING, retry_after=3.0) == "draining retry-after=3"
    assert book.text(R.BACKEND_REFUSED, 503, 1.0) == "backend-refused retry-after=1"
    assert book.text(R.BACKEND_REFUSED, 403, 1.0) == "backend-refused"


def test_coarse_texts_tell_nothing_that_the_code_does_not() -> None:
    """One word a code, whatever the profile makes of it."""
    words: dict[int, set[str]] = {}
    for reason in CloseReason:
        if reason.advice is not Advice.NOTHING:
            word = Codebook(coarse=True).text(reason)
            assert word == Codebook(Profile.PUSHER, coarse=True).text(reason)
            words.setdefault(reason.code, set()).add(word)
            assert word not in (other.token for other in CloseReason if other is not R.PROTOCOL_ERROR)
    assert all(len(said) == 1 for said in words.values())
    assert Codebook(coarse=True).text(R.DRAINING, retry_after=1.0) == "restart retry-after=1"


@pytest.mark.parametrize("retry_after", [0.0, 0.01, 0.1, 7.25, 12345.67])
def test_when_to_come_back_is_a_plain_decimal(retry_after: float) -> None:
    _, _, seconds = Codebook().text(R.DRAINING, retry_after=retry_after).partition("retry-after=")
    assert float(seconds) == pytest.approx(retry_after, rel=1e-4)
    assert seconds.replace(".", "").isdigit()


def test_every_text_fits_its_frame() -> None:
    for reason in CloseReason:
        text = Codebook().text(reason, retry_after=123456.789)
        frame = wire.take_frame(bytearray(close_frame(4000, text)))
        assert frame is not None
        assert frame.close == (4000, text)


def test_towards_a_backend_a_close_is_masked() -> None:
    frame = wire.take_frame(bytearray(close_frame(1001, "draining", mask=b"abcd")))
    assert frame == wire.Frame(True, 0, wire.CLOSE, b"abcd", b"\x03\xe9draining")
