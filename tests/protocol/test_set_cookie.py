"""Set-Cookie fields as browsers read them: the dates of RFC 6265 and of old servers, and how frameworks clear."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from http.cookies import Morsel, SimpleCookie

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.set_cookies import CLEARING, KEEPING, NOW
from wsguard.protocol.set_cookie import SetCookie, default_path, named, parse, parse_date


@pytest.mark.parametrize("field", CLEARING.values(), ids=CLEARING)
def test_what_clears(field: str) -> None:
    cookie = parse(field.encode())
    assert cookie is not None
    assert cookie.clears(NOW)


@pytest.mark.parametrize("field", KEEPING.values(), ids=KEEPING)
def test_what_keeps(field: str) -> None:
    cookie = parse(field.encode())
    assert cookie is not None
    assert not cookie.clears(NOW)


@pytest.mark.parametrize("field", ["", "session", "=x", " =x", "session; a=b", ";session=x"])
def test_what_a_browser_ignores(field: str) -> None:
    assert parse(field.encode()) is None


def test_every_part_is_read() -> None:
    raw = b'id="a b" ; Domain=.App.Example.com; Path=/x; Path=/y; Max-Age=5; Secure; expires=1 Jan 1970 00:00:09'
    assert parse(raw) == SetCookie("id", "a b", 5, 9.0, "app.example.com", "/y")
    assert parse(b"id=x; Domain=; Domain=a.b; Domain=; Path=/x; Path=y") == SetCookie("id", "x", domain="a.b")
    assert "s3cret" not in repr(parse(b"id=s3cret"))


DATES = [
    ("Sun, 06 Nov 1994 08:49:37 GMT", 784111777),
    ("Sunday, 06-Nov-94 08:49:37 GMT", 784111777),
    ("Sun Nov  6 08:49:37 1994", 784111777),
    ("06-nov-1994 8:49:37", 784111777),
    ("1994 November 6th 08:49:37pm", 784111777),
    ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
    ("Fri, 31-Dec-9999 23:59:59 GMT", 253402300799),
    ("01 Jan 69 00:00:00", 3124224000),
    ("01 Jan 70 00:00:00", 0),
    ("", None),
    ("08:49:37", None),
    ("Sun, 06 Nov 1994", None),
    ("Sun, 32 Nov 1994 08:49:37", None),
    ("Sun, 06 Nov 19940 08:49:37", None),
    ("Sun, 06 Nov 1994 08:49:60", None),
]


@pytest.mark.parametrize(("text", "moment"), DATES)
def test_dates(text: str, moment: float | None) -> None:
    assert parse_date(text.encode()) == moment


@given(st.datetimes(datetime(1970, 1, 1), datetime(2399, 1, 1)))
def test_every_date_that_a_server_writes_is_read(moment: datetime) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    assert parse_date(format_datetime(moment, usegmt=True).encode()) == moment.timestamp()


@given(st.binary(max_size=200), st.binary(max_size=60))
def test_nothing_makes_it_stumble(raw: bytes, date: bytes) -> None:
    parse(raw)
    parse(b"a=b; expires=" + date)
    parse_date(date)


TOKENS = st.text("abcXYZ019-_", min_size=1, max_size=8)


@given(TOKENS, st.text("abc019 ,=\"'/", max_size=12), st.integers(-5, 5), TOKENS)
def test_what_the_standard_library_writes_is_read(name: str, value: str, age: int, path: str) -> None:
    jar = SimpleCookie()
    jar[f"n{name}"] = value
    morsel: Morsel[str] = jar[f"n{name}"]
    morsel["max-age"], morsel["path"] = str(age), f"/{path}"
    read = parse(morsel.OutputString().encode())
    assert read is not None
    assert (read.name, read.max_age, read.path) == (f"n{name}", age, f"/{path}")
    assert read.clears(NOW) == (age <= 0 or not value)


def test_names_are_compared_exactly() -> None:
    fields = [b"session=1", b"Session=2", b"xsession=3", b"session =4", b"a=session=5", b"session"]
    assert [cookie.value for cookie in named(fields, "session")] == ["1", "4"]


REACH = [
    ("app.example.com", "/logout", "", "", True),
    ("app.example.com", "/logout", "app.example.com", "/", True),
    ("app.example.com", "/logout", "example.com", "/", True),
    ("app.example.com", "/logout", "xample.com", "/", False),
    ("app.example.com", "/logout", "other.example.com", "/", False),
    ("example.com", "/logout", "app.example.com", "/", False),
    ("127.0.0.1", "/logout", "127.0.0.1", "/", True),
    ("127.0.0.1", "/logout", "0.0.1", "/", False),
    ("app.example.com", "/app/logout", "", "/app", True),
    ("app.example.com", "/app/logout", "", "/app/", True),
    ("app.example.com", "/application", "", "/app", False),
    ("app.example.com", "/logout", "", "/admin", False),
    ("app.example.com", "/logout", "", "/logout", True),
]


@pytest.mark.parametrize(("host", "path", "domain", "of", "could"), REACH)
def test_only_a_cookie_that_was_sent_can_be_replaced(host: str, path: str, domain: str, of: str, could: bool) -> None:
    assert SetCookie("s", "x", domain=domain, path=of).could_replace_one_sent_to(host, path) is could


@pytest.mark.parametrize(
    ("path", "default"), [("/", "/"), ("/logout", "/"), ("/api/logout", "/api"), ("/api/", "/api"), ("/a/b/c", "/a/b")]
)
def test_the_path_of_a_cookie_without_one(path: str, default: str) -> None:
    assert default_path(path) == default
