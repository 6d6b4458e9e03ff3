from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from wsguard.policy.fields import (
    AllowedHost,
    Cidr,
    Duration,
    File,
    HostPort,
    Name,
    PositiveDuration,
    Size,
    Text,
    Uri,
    parse_duration,
    parse_size,
)
from wsguard.policy.model_base import Reading, camel_case, found, shorten

FROM_FILE = Reading("")


def read(kind: Any, value: object, folder: str = "") -> object:
    return TypeAdapter(kind).validate_python(value, context=Reading(folder))


def sentence(kind: Any, value: object) -> str:
    with pytest.raises(ValidationError) as caught:
        read(kind, value)
    (error,) = caught.value.errors()
    return str(error["ctx"]["error"])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0), ("500ms", 0.5), ("30s", 30), ("5m", 300), ("8h", 28800), ("1h30m", 5400), ("1m1ms", 60.001)],
)
def test_reads_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)
    assert read(Duration, text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value", ["", "5", "1d", "-5s", "5 s", "5S", "1.5h", "s", "∞", "٣s", "100000s", "1s\n", 5, 1.5, True, None, []]
)
def test_refuses_what_is_no_duration(value: object) -> None:
    assert sentence(Duration, value).startswith("expected a duration such as 500ms, 30s, 5m or 8h, found")


@pytest.mark.parametrize(("text", "count"), [("0Ki", 0), ("8Ki", 8192), ("64Ki", 65536), ("1Mi", 1048576)])
def test_reads_sizes(text: str, count: int) -> None:
    assert parse_size(text) == count
    assert read(Size, text) == count


@pytest.mark.parametrize("value", ["", "8", "8K", "8kb", "8 Ki", "-1Ki", "1.5Mi", "٣Ki", "1Ki\n", 8192, True, None, []])
def test_refuses_what_is_no_size(value: object) -> None:
    assert sentence(Size, value).startswith("expected a size such as 8Ki or 1Mi, found")


def test_a_duration_may_have_to_be_longer_than_nothing() -> None:
    assert sentence(PositiveDuration, "0ms") == "expected a duration longer than 0s"


def test_in_code_a_duration_is_a_number_of_seconds() -> None:
    assert TypeAdapter(Duration).validate_python(1.5) == 1.5


@pytest.mark.parametrize(
    ("text", "host", "port", "is_loopback"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("127.8.8.8:1", "127.8.8.8", 1, True),
        ("0.0.0.0:80", "0.0.0.0", 80, False),
        ("[::1]:443", "::1", 443, True),
        ("[0:0::0]:0", "::", 0, False),
        ("LocalHost:9090", "localhost", 9090, True),
        ("db.localhost:1", "db.localhost", 1, True),
        ("guard.internal:65535", "guard.internal", 65535, False),
    ],
)
def test_reads_addresses(text: str, host: str, port: int, is_loopback: bool) -> None:
    address = HostPort.parse(text)
    assert (address.host, address.port, address.is_loopback) == (host, port, is_loopback)
    assert HostPort.parse(str(address)) == address


@pytest.mark.parametrize(
    "text", ["", "8080", ":8080", "localhost", "localhost:", "localhost:65536", "a b:1", "::1:80", "x:٣", "http://x:1"]
)
def test_refuses_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="expected HOST:PORT such as"):
        HostPort.parse(text)


@pytest.mark.parametrize(
    ("text", "network"),
    [("10.0.0.0/8", "10.0.0.0/8"), ("192.0.2.7", "192.0.2.7/32"), ("fd00::/8", "fd00::/8"), ("0.0.0.0/0", "0.0.0.0/0")],
)
def test_reads_networks(text: str, network: str) -> None:
    assert read(Cidr, text) == ip_network(network)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("10.0.0.1/8", "which has host bits set; did you mean 10.0.0.0/8?"),
        ("::ffff:10.0.0.0/104", "expected an IPv4 network in its own form"),
        ("fe80::1%eth0", "expected a network such as"),
        ("10.0.0.0/33", "expected a network such as"),
        ("localhost", "expected a network such as"),
        (10, "found the number 10"),
    ],
)
def test_refuses_what_is_no_network(value: object, expected: str) -> None:
    assert expected in sentence(Cidr, value)


@pytest.mark.parametrize("text", ["https://idp.example.com/jwks", "http://127.0.0.1:8080/keys?a=b"])
def test_reads_addresses_of_key_sets(text: str) -> None:
    assert read(Uri, text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "idp/jwks",
        "file:///etc/passwd",
        "https://",
        "https://u:p@idp/",
        "https://idp/#k",
        "https://i dp/",
        "https://[::1",
    ],
)
def test_refuses_what_keys_cannot_be_fetched_from(text: str) -> None:
    assert sentence(Uri, text).startswith("expected an http:// or https:// address")


def test_a_relative_path_starts_at_the_folder_of_its_file() -> None:
    assert read(File, "keys/a.json", "/etc/wsguard") == "/etc/wsguard/keys/a.json"
    assert read(File, "/keys/a.json", "/etc/wsguard") == "/keys/a.json"
    assert read(File, "a.json") == "a.json"
    assert "found the number 3" in sentence(File, 3)
    assert "expected the path of a file" in sentence(File, "")


@pytest.mark.parametrize("text", ["chat", "a", "a-b.c", "0"])
def test_reads_names(text: str) -> None:
    assert read(Name, text) == text


@pytest.mark.parametrize("text", ["", "Chat", "-a", "a-", "a b", "a" * 254, "é"])
def test_refuses_names_that_no_label_can_have(text: str) -> None:
    assert "expected a name of lower-case letters" in sentence(Name, text)


def test_says_when_quotes_are_missing() -> None:
    assert sentence(Text, 42) == "expected text, found the number 42: put it in quotes"
    assert sentence(Text, True) == "expected text, found true: put it in quotes"


def test_an_allowed_host_is_a_pattern_or_everyone() -> None:
    assert read(AllowedHost, "*") == "*"
    assert read(AllowedHost, "*.Example.com") == "*.example.com"
    assert "leave the scheme out" in sentence(AllowedHost, "https://example.com")


def test_spells_attributes_as_files_do() -> None:
    spelt = {name: camel_case(name) for name in ("name", "remote_jwks", "client_cidrs", "client_ip_detection", "uri")}
    assert list(spelt.values()) == ["name", "remoteJWKS", "clientCIDRs", "clientIPDetection", "uri"]


def test_tells_what_was_found_on_one_short_line() -> None:
    assert found("a\nb\x1b[31m") == '"a\\nb\\x1b[31m"'
    assert len(found("x" * 1000)) < 70
    assert shorten("\ud800") == "\\ud800"
    values: tuple[object, ...] = (None, True, 1, [], {})
    assert [found(value) for value in values] == ["nothing", "true", "the number 1", "a list", "a mapping"]
