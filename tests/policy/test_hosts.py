from __future__ import annotations

import pytest

from wsguard.policy.hosts import HostPattern, host_allowed
from wsguard.protocol.authority import parse_authority


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("app.example.com", "app.example.com"),
        ("App.Example.COM.", "app.example.com"),
        ("*.Example.com", "*.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
        ("localhost", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("[0:0::1]", "[::1]"),
    ],
)
def test_has_one_spelling(text: str, canonical: str) -> None:
    pattern = HostPattern.parse(text)
    assert str(pattern) == canonical
    assert HostPattern.parse(canonical) == pattern


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is not a host such as"),
        ("*", "a wildcard is the whole first label"),
        ("*.", "is not a host such as"),
        ("a*.example.com", "a wildcard is the whole first label"),
        ("*.*.example.com", "a wildcard is the whole first label"),
        ("app.*.com", "a wildcard is the whole first label"),
        ("app.example.com:8080", "leave the port out"),
        ("https://app.example.com", "leave the scheme out"),
        ("app.example.com/ws", "leave the path out"),
        ("user@app.example.com", "is not a host such as"),
        ("*.10.0.0.1", "has no subdomains"),
        ("*.[::1]", "has no subdomains"),
        ("::1", "is not a host such as"),
        ("127.1", "is not a host such as"),
    ],
)
def test_says_what_is_wrong(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        HostPattern.parse(text)


@pytest.mark.parametrize(
    ("text", "host", "matches"),
    [
        ("app.example.com", "app.example.com", True),
        ("app.example.com", "APP.example.com.", True),
        ("app.example.com", "app.example.com:8443", True),
        ("app.example.com", "app.example.com.evil.test", False),
        ("app.example.com", "example.com", False),
        ("app.example.com", "xapp.example.com", False),
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "evilexample.com", False),
        ("*.example.com", "a.example.com.evil.test", False),
        ("*.bücher.example", "a.xn--bcher-kva.example", True),
        ("xn--bcher-kva.example", "bücher.example", True),
        ("[::1]", "[0::0:1]:80", True),
        ("[::1]", "127.0.0.1", False),
    ],
)
def test_matches_by_whole_labels(text: str, host: str, matches: bool) -> None:
    assert HostPattern.parse(text).matches(parse_authority(host).host) is matches


LISTED = (HostPattern.parse("app.example.com"),)


@pytest.mark.parametrize(
    ("host", "match_hostnames", "allowed_hosts", "loopback", "allowed"),
    [
        # Nothing is set: a loopback listener answers only to what no attacker's DNS can answer.
        ("localhost:8080", (), (), True, True),
        ("app.localhost", (), (), True, True),
        ("127.0.0.1:8080", (), (), True, True),
        ("192.168.1.5", (), (), True, True),
        ("[::1]:8080", (), (), True, True),
        ("rebound.evil.test:8080", (), (), True, False),
        ("localhost.evil.test", (), (), True, False),
        ("127.0.0.1.evil.test", (), (), True, False),
        ("intranet", (), (), True, False),
        # A listener that others reach cannot know its names: the start warns.
        ("rebound.evil.test", (), (), False, True),
        # Either list decides alone, and then loopback names need a place in it too.
        ("app.example.com", LISTED, (), True, True),
        ("app.example.com:8080", LISTED, (), False, True),
        ("rebound.evil.test", LISTED, (), False, False),
        ("localhost", LISTED, (), True, False),
        ("app.example.com", (), ("app.example.com",), True, True),
        ("app.example.com", (), ("APP.Example.com.",), True, True),
        ("a.example.com", (), ("*.example.com",), True, True),
        ("example.com", (), ("*.example.com",), False, False),
        ("localhost", (), ("app.example.com",), True, False),
        ("127.0.0.1", (), ("app.example.com",), True, False),
        ("other.example.com", LISTED, ("other.example.com",), True, True),
        ("rebound.evil.test", LISTED, ("other.example.com",), True, False),
        # The check is switched off.
        ("rebound.evil.test", (), ("*",), True, True),
        ("rebound.evil.test", LISTED, ("other.example.com", "*"), True, True),
    ],
)
def test_answers_only_to_its_own_names(
    host: str,
    match_hostnames: tuple[HostPattern, ...],
    allowed_hosts: tuple[str, ...],
    loopback: bool,
    allowed: bool,
) -> None:
    assert host_allowed(parse_authority(host), match_hostnames, allowed_hosts, loopback) is allowed
