"""What a browser makes of a Set-Cookie field (RFC 6265 §5.1 and §5.2).

Law: read as browsers read it, not as servers should write it. What they ignore is ignored here, and where an attribute
comes twice the last one counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from wsguard.protocol.authority import Authority
from wsguard.protocol.cookies import plain

_SPACE = b" \t"
_NUMBER = re.compile(rb"-?[0-9]+")
_DELIMITERS = re.compile(rb"[\x09\x20-\x2f\x3b-\x40\x5b-\x60\x7b-\x7e]+")
_TIME = re.compile(rb"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:[^0-9].*)?", re.DOTALL)
_DAY = re.compile(rb"([0-9]{1,2})(?:[^0-9].*)?", re.DOTALL)
_YEAR = re.compile(rb"([0-9]{2,4})(?:[^0-9].*)?", re.DOTALL)
_MONTHS = (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec")


@dataclass(frozen=True, slots=True)
class SetCookie:
    """One Set-Cookie field.

    `value` is as a Cookie field would bring it back, less one pair of quotes. `max_age` is seconds, `expires` seconds
    since the epoch; None where the attribute is missing or unreadable. `domain` and `path` are empty where the browser
    takes the request's own.
    """

    name: str
    value: str = field(repr=False)
    max_age: int | None = None
    expires: float | None = None
    domain: str = ""
    path: str = ""

    def clears(self, now: float) -> bool:
        """Whether the browser has no such cookie afterwards, or an empty one, which says as little.

        `now` is seconds since the epoch. Max-Age counts before Expires (§5.3 step 3).
        """
        if not self.value:
            return True
        if self.max_age is not None:
            return self.max_age <= 0
        return self.expires is not None and self.expires <= now

    def could_replace_one_sent_to(self, host: str, path: str) -> bool:
        """Whether a cookie that came with a request to `host` and `path` can be meant.

        `host` is spelt as `Authority.host`, `path` as in the request target. A field with another Domain is thrown
        away (§5.3 step 6), and a cookie with another Path would not have been sent (§5.4): this field would clear or
        set some other cookie of the same name.
        """
        return _domain_matches(host, self.domain or host) and _path_matches(path, self.path or "/")


def parse(raw: bytes) -> SetCookie | None:
    """Read the value of one Set-Cookie field; None where a browser ignores it (§5.2)."""
    pair, _, rest = raw.partition(b";")
    name, equals, value = pair.partition(b"=")
    name = name.strip(_SPACE)
    if not equals or not name:
        return None
    attributes = _attributes(rest)
    path = attributes.get(b"path", b"")
    return SetCookie(
        name=name.decode("latin-1"),
        value=plain(value.strip(_SPACE)),
        max_age=_max_age(attributes),
        expires=_expires(attributes),
        domain=attributes.get(b"domain", b"").removeprefix(b".").lower().decode("latin-1"),
        path=path.decode("latin-1") if path.startswith(b"/") else "",
    )


def named(fields: Iterable[bytes], name: str) -> list[SetCookie]:
    """The Set-Cookie fields of the cookie `name`, which is compared exactly, in order."""
    read = (parse(raw) for raw in fields if name.encode("latin-1", "replace") in raw)
    return [cookie for cookie in read if cookie is not None and cookie.name == name]


def _attributes(rest: bytes) -> Mapping[bytes, bytes]:
    """The last readable value of each: an Expires that is no date does not take an earlier one back."""
    attributes: dict[bytes, bytes] = {}
    for part in rest.split(b";"):
        key, _, value = part.partition(b"=")
        key, value = key.strip(_SPACE).lower(), value.strip(_SPACE)
        if key == b"max-age" and not _NUMBER.fullmatch(value):
            continue
        if key == b"expires" and parse_date(value) is None:
            continue
        if key == b"domain" and not value:
            continue
        attributes[key] = value
    return attributes


def _max_age(attributes: Mapping[bytes, bytes]) -> int | None:
    digits = attributes.get(b"max-age")
    return None if digits is None else int(digits[:12])  # as much as anyone means, and no more than int() should read


def _expires(attributes: Mapping[bytes, bytes]) -> float | None:
    date = attributes.get(b"expires")
    return None if date is None else parse_date(date)


def parse_date(text: bytes) -> float | None:
    """A cookie-date in seconds since the epoch, in whatever order its parts come (§5.1.1); None where it is none."""
    time: tuple[int, int, int] | None = None
    day = month = year = None
    for token in filter(None, _DELIMITERS.split(text)):
        if time is None and (found := _TIME.fullmatch(token)):
            time = (int(found[1]), int(found[2]), int(found[3]))
        elif day is None and (found := _DAY.fullmatch(token)):
            day = int(found[1])
        elif month is None and token[:3].lower() in _MONTHS:
            month = _MONTHS.index(token[:3].lower()) + 1
        elif year is None and (found := _YEAR.fullmatch(token)):
            year = int(found[1])
    if time is None or day is None or month is None or year is None:
        return None
    if year < 100:
        year += 1900 if year >= 70 else 2000
    try:
        return datetime(year, month, day, *time, tzinfo=UTC).timestamp() if year >= 1601 else None
    except ValueError:  # the 30th of February, 25 o'clock
        return None


def default_path(path: str) -> str:
    """The Path of a cookie that a response to `path` sets without one (§5.1.4)."""
    return path[: max(path.rfind("/"), 1)]


def _domain_matches(host: str, domain: str) -> bool:
    """RFC 6265 §5.1.3."""
    return host == domain or (host.endswith(f".{domain}") and not Authority(host).is_ip)


def _path_matches(path: str, cookie_path: str) -> bool:
    """RFC 6265 §5.1.4."""
    if not path.startswith(cookie_path):
        return False
    return cookie_path.endswith("/") or path[len(cookie_path) : len(cookie_path) + 1] in ("", "/")
