from __future__ import annotations

import pytest

from wsguard.policy.model import Backend, GuardSpec
from wsguard.policy.overrides import Overrides


def test_nothing_overrides_nothing() -> None:
    guard = GuardSpec(backends=[Backend(url="http://a:1")])
    assert Overrides().apply(guard) == guard


def test_a_flag_replaces_one_setting_and_leaves_its_neighbours() -> None:
    guard = GuardSpec(listener={"handshake_timeout": 3.0}, backends=[Backend(url="http://a:1")])
    changed = Overrides.parse(listen="127.0.0.1:0", backend="http://[::1]:3000/").apply(guard)
    assert str(changed.listener.address) == "127.0.0.1:0"
    assert changed.listener.handshake_timeout == 3.0
    assert [(str(backend.address), backend.url) for backend in changed.backends] == [
        ("[::1]:3000", "http://[::1]:3000")
    ]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"listen": "8080"}, "--listen: expected HOST:PORT"),
        ({"admin": "a b:1"}, "--admin: expected HOST:PORT"),
        ({"backend": "127.0.0.1:3000"}, "--backend: expected an address such as http://127.0.0.1:3000"),
        ({"backend": "http://u:p@a/"}, "expected an address such as"),
        ({"backend": "https://a/x"}, "expected an address such as"),
        ({"listen": "unix:/"}, "--listen: expected unix:/PATH"),
    ],
)
def test_a_wrong_flag_is_said_in_a_sentence(flags: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Overrides.parse(**flags)


def test_an_empty_flag_says_nothing() -> None:
    """As a variable of the environment that a manifest leaves empty."""
    assert Overrides.parse(listen="", admin="", backend="") == Overrides()
