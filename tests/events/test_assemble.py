"""What a policy file says of a stream becomes a client's options; a library that is missing is said in a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from wsguard.events import assemble
from wsguard.events.assemble import MissingExtra, nats_options, open_streams, redis_options
from wsguard.policy.model import NATSJetStream, RedisStream, SessionEvents

FILES = {"password": b"pass word\r\n", "url": b"redis://host:1/0\n", "token": b"t0ken"}


def files() -> dict[str, bytes]:
    return FILES


def test_a_redis_client_gets_what_the_files_hold() -> None:
    source = RedisStream.model_validate(
        {"type": "RedisStream", "urlFile": "url", "username": "guard", "passwordFile": "password"}
    )
    assert redis_options(source, files) == ("redis://host:1/0", {"username": "guard", "password": "pass word"})
    encrypted = RedisStream.model_validate({"type": "RedisStream", "url": "rediss://a", "tls": {"caFile": "ca"}})
    options = {"ssl_ca_certs": "ca", "ssl_certfile": None, "ssl_keyfile": None}
    assert redis_options(encrypted, files) == ("rediss://a", options)


def test_a_nats_client_gets_what_the_files_hold() -> None:
    source = NATSJetStream.model_validate({"type": "NATSJetStream", "url": "nats://a", "tokenFile": "token"})
    assert nats_options(source, files) == ("nats://a", {"token": "t0ken"})


@pytest.mark.parametrize(
    ("source", "extra"),
    [
        ({"type": "RedisStream", "url": "redis://a"}, "wsguard[redis]"),
        ({"type": "NATSJetStream", "url": "nats://a"}, "wsguard[nats]"),
    ],
)
def test_a_missing_extra_is_named(source: dict[str, Any], extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assemble, "find_spec", lambda name: None)
    spec = SessionEvents.model_validate({"sources": [source]})
    with pytest.raises(MissingExtra) as caught:
        open_streams(spec, files, 0.0)
    assert extra in str(caught.value)
    assert open_streams(SessionEvents(), files, 0.0) == []
