"""Set-Cookie fields as frameworks and old servers write them."""

from __future__ import annotations

from datetime import UTC, datetime

NOW = datetime(2026, 5, 17, 12, 0, tzinfo=UTC).timestamp()
"""When they are read."""

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
"""Those that clear the cookie, by whose they are or what is special about them."""

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
"""Those that set another value."""
