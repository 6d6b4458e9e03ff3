"""Where credentials are read and erased: cookies and queries. What was erased, nobody reads any more.

An input is a jar and a query with a zero byte between them.
"""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl

from wsguard.protocol import cookies, query
from wsguard.protocol.http import Headers

NAME = "session"

SEEDS = [
    b'session=abc; theme=dark; Session="x;y"; session\0/ws?access=1&session=abc&b=2',
    b"a=1, session=2 session=3;se%73sion=4; session[0]=5\0/ws?session[]=1;session=2&SESSION=3",
    b'a="; session=1; b="; $Version=1; session = 7\0/ws?a=b?session=1&se%73sion=2&&=&session',
]


def check(data: bytes) -> None:
    """What is erased is gone for every reader, and the rest is as it was."""
    jar, _, target = data.partition(b"\0")
    _jar(jar)
    _query(target.decode("latin-1"))


def _jar(jar: bytes) -> None:
    headers = Headers(((b"Host", b"app"), (b"Cookie", jar)))
    found = cookies.values(headers, NAME)
    left = cookies.erase(headers, [NAME])
    assert cookies.values(left, NAME) == []
    if not found:
        assert left == headers, "what is not there changes nothing"
    rest = left.first(b"cookie")
    for read in (_read_by_the_standard_library, _read_by_a_browser):
        assert NAME not in read(rest or b""), (jar, rest)
        assert found or NAME not in read(jar), jar


def _read_by_the_standard_library(jar: bytes) -> set[str]:
    try:
        return set(SimpleCookie(jar.decode("latin-1")))
    except CookieError:
        return set()


def _read_by_a_browser(jar: bytes) -> set[str]:
    """RFC 6265 §5.2 less its attributes: semicolons, the first equals sign, white space around the name."""
    pairs = (pair.partition(b"=") for pair in jar.split(b";"))
    return {name.strip(b" \t").decode("latin-1") for name, equals, _ in pairs if equals}


def _query(target: str) -> None:
    if any(ord(character) <= 0x20 or ord(character) >= 0x7F for character in target):
        return  # the door refuses it
    asked = target.partition("?")[2] if "?" in target else None
    found = query.values(asked, NAME)
    left = query.erase(target, [NAME])
    rest = left.partition("?")[2] if "?" in left else None
    assert query.values(rest, NAME) == []
    assert found or left == target, "what is not there changes nothing"
    for separator in ("&", ";"):
        read = dict(parse_qsl(rest or "", keep_blank_values=True, separator=separator))
        assert NAME not in read, (target, left)
