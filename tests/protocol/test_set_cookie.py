"""Set-Cookie fields as browsers read them: the dates of RFC 6265 and of old servers, and how frameworks clear."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from http.cookies import Morsel, SimpleCookie

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsguard.protocol.set_cookie import SetCookie, default_path, named, parse, parse_date

NOW = datetime(2026, 5, 17, 12, 0, tzinfo=UTC).timestamp()

CLEARING = {
    "Django": 'sessionid=""; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/; SameSite=Lax',
    "Express": "connect.sid=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
    "Rails": "_app_session=; path=/; max-age=0; expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; SameSite=Lax",
    "PHP": "PHPSESSID=deleted; expires=Thu, 01-Jan-1970 00:00:01 GMT; Max-Age=0; path=/",
    "PHP 5": "PHPSESSID=deleted; expires=Thu, 01-Jan-70 00:00:01 GMT",
    "Spring": "JSESSIONID=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:10 GMT; Secure; HttpOnly",
    "Tomcat": "JSESSIONID=0; Max-Age=0; Path=/app",
    "aiohttp": 'AIOHTTP_SESSION=""; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/',
    "Flask": "session=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; HttpOnly; Path=/",
    "ASP.NET Core": ".AspNetCore.Cookies=; expires=Thu, 01 Jan 1970 00:00:00 GMT; path=/; samesite=lax; httponly",
    "Laravel": "laravel_session=x; expires=Wed, 17-May-2021 11:59:59 GMT; Max-Age=-157680000; path=/; httponly",
    "by hand": "session=",
    "without an end": "session=; Max-Age=3600",
    "quoted": 'session=""',
    "negative": "session=x; max-age=-1",
    "this moment": "session=x; expires=Sun, 17 May 2026 12:00:00 GMT",
    "asctime": "session=x; expires=Thu Jan  1 00:00:01 1970",
    "the last one counts": "session=x; Max-Age=60; Max-Age=0",
    "spaces": " session = x ; MAX-AGE = 0 ",
    "the later date": "session=x; expires=Fri, 17 May 2030 12:00:00 GMT; expires=Thu, 01 Jan 1970 00:00:00 GMT",
}

KEEPING = {
    "a session cookie": "session=x; Path=/; HttpOnly",
    "Max-Age before Expires": "session=x; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
    "a future date": "session=x; expires=Sun, 17 May 2026 12:00:01 GMT",
    "no date": "session=x; expires=yesterday",
    "half a date": "session=x; expires=Thu, 01 Jan 1970",
    "no such day": "session=x; expires=Mon, 30 Feb 1970 00:00:00 GMT",
    "25 o'clock": "session=x; expires=Thu, 01 Jan 1970 25:00:00 GMT",
    "before the calendar": "session=x; expires=Thu, 01 Jan 1600 00:00:00 GMT",
    "no number": "session=x; Max-Age=0s",
    "an unreadable one after": "session=x; Max-Age=60; Max-Age=none",
    "a sign": "session=x; Max-Age=+0",
    "a value that says so": "session=deleted",
    "a value that looks like an attribute": "session=Max-Age=0",
    "two digits of a year to come": "session=x; expires=Thu, 01-Jan-69 00:00:01 GMT",
}


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
