from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.texts import guard, policy, with_secret
from wsguard.config.reload import Outcome, Reloader, ReloadResult, changes_that_need_a_restart
from wsguard.config.store import Snapshot, read
from wsguard.policy.load import load
from wsguard.policy.model import GuardSpec
from wsguard.policy.yaml_source import SourceText


class Files:
    """A folder with one policy, a reloader of it, and what the reloader told."""

    def __init__(self, folder: Path, text: str) -> None:
        self.file = folder / "a.yaml"
        self.file.write_text(text)
        self.told: list[ReloadResult] = []
        self.time = 100.0
        self.fault: Exception | None = None
        self.reloader = Reloader(self.read(), self.read, self.told.append, lambda: self.time)

    def read(self) -> Snapshot:
        if self.fault is not None:
            raise self.fault
        return read([self.file.parent], now=lambda: self.time)

    async def change(self, text: str) -> ReloadResult:
        self.time += 1
        self.file.write_text(text)
        return await self.reloader.reload()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path, policy("old"))


def names(snapshot: Snapshot) -> list[str]:
    return [each.name for each in snapshot.policy_set.policies]


async def test_puts_new_policies_in_force(files: Files) -> None:
    result = await files.change(policy("new"))
    assert (result.outcome, result.error) == (Outcome.APPLIED, None)
    assert result.snapshot is files.reloader.current
    assert names(files.reloader.current) == ["new"]
    assert files.reloader.current.loaded_at == 101.0
    assert files.told == [result]


async def test_a_broken_file_keeps_the_old_policy_and_is_remembered(files: Files) -> None:
    before = files.reloader.current
    result = await files.change("spec: [")
    assert result.outcome is Outcome.REFUSED
    assert result.snapshot is files.reloader.current is before
    assert files.reloader.last_error == result.error
    assert "a.yaml:" in (result.error or "")
    assert "this is not YAML" in (result.error or "")
    assert result.problems != ()
    assert files.reloader.last_error_at == 101.0
    assert files.told == [result]


async def test_a_repaired_file_is_news_even_if_it_is_the_old_one(files: Files) -> None:
    await files.change("")
    result = await files.change(policy("old"))
    assert result.outcome is Outcome.APPLIED
    assert (files.reloader.last_error, files.reloader.last_error_at) == (None, None)
    assert [each.outcome for each in files.told] == [Outcome.REFUSED, Outcome.APPLIED]


async def test_what_is_no_news_is_not_told(files: Files) -> None:
    assert (await files.change(policy("old"))).outcome is Outcome.UNCHANGED
    await files.change("kind: x")
    again = await files.change("kind: x")
    assert again.outcome is Outcome.REFUSED
    assert files.reloader.last_error_at == 103.0
    assert len(files.told) == 1
    await files.change("kind: y")
    assert len(files.told) == 2


async def test_a_fault_of_the_reader_changes_nothing(files: Files) -> None:
    files.fault = RuntimeError("with a secret in it")
    result = await files.change(policy("new"))
    assert (result.outcome, names(files.reloader.current)) == (Outcome.REFUSED, ["old"])
    assert result.error == "the files could not be read: RuntimeError"


async def test_a_missing_key_keeps_the_old_policy(files: Files) -> None:
    result = await files.change(with_secret("a.key"))
    assert result.outcome is Outcome.REFUSED
    files.file.with_name("a.key").write_text("k" * 32)
    assert (await files.reloader.reload()).outcome is Outcome.APPLIED


async def test_a_rotated_key_is_news(tmp_path: Path) -> None:
    (tmp_path / "a.key").write_text("k" * 32)
    files = Files(tmp_path, with_secret("a.key"))
    old = files.reloader.current
    (tmp_path / "a.key").write_text("n" * 32)
    assert (await files.reloader.reload()).outcome is Outcome.APPLIED
    file = str(tmp_path / "a.key")
    assert files.reloader.current.local_keys[file] is not old.local_keys[file]


async def test_what_needs_a_restart_refuses_the_reload_as_a_whole(tmp_path: Path) -> None:
    files = Files(tmp_path, policy("old") + "---\n" + guard("{backends: [{url: 'http://127.0.0.1:3000'}]}"))
    result = await files.change(policy("new") + "---\n" + guard("{backends: [{url: 'http://127.0.0.1:4000'}]}"))
    assert result.outcome is Outcome.REFUSED
    assert names(files.reloader.current) == ["old"]
    assert result.error == (
        "spec.backends[0].url changed from http://127.0.0.1:3000 to http://127.0.0.1:4000, which needs a restart"
    )


def spec(text: str) -> GuardSpec:
    loaded = load([SourceText("a.yaml", guard(text))])
    assert loaded.policy_set is not None
    return loaded.policy_set.guard


BASE = "listener: {address: '127.0.0.1:1'}, backends: [{name: a, url: 'http://a:1'}]"

SEVERAL = "backends: [{name: a, url: 'http://a:1'}, {name: b, url: 'http://b:1'}]"
SEVERAL_TURNED = "backends: [{name: b, url: 'http://b:1'}, {name: a, url: 'http://a:1'}]"

STREAM = "sessionEvents: {onGap: Continue, sources: [{type: RedisStream, url: 'redis://a', key: a}]}"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (BASE, BASE.replace(":1'}, b", ":2'}, b"), "spec.listener.address changed from 127.0.0.1:1 to 127.0.0.1:2"),
        ("", "listener: {handshakeTimeout: 1m}", "spec.listener.handshakeTimeout changed from 10s to 60s"),
        ("", "listener: {allowedHosts: [a, b]}", "spec.listener.allowedHosts changed from [] to [a, b]"),
        ("", "admin: {address: '127.0.0.1:1'}", "spec.admin.address changed from 127.0.0.1:9090 to 127.0.0.1:1"),
        ("", "admin: {tokenFile: t}", "spec.admin.tokenFile changed from nothing to t"),
        (BASE, "", "spec.backends: 1 before and 0 now"),
        ("", "listener: {tls: {certFile: a, keyFile: b}}", "spec.listener.tls changed, which needs"),
        ("listener: {tls: {certFile: a, keyFile: b}}", "", "spec.listener.tls changed from"),
        ("", "listener: {proxyProtocol: true}", "spec.listener.proxyProtocol changed"),
        (BASE, BASE.replace("http://a:1'", "https://a:1'"), "spec.backends[0].url changed"),
        ("", "sessionEvents: {replayWindow: 48h}", "spec.sessionEvents.replayWindow changed from 86400s to 172800s"),
        ("", "sessionEvents: {denyList: {maxEntries: 9}}", "spec.sessionEvents.denyList changed, which needs"),
        (STREAM, STREAM.replace("key: a", "key: b"), "spec.sessionEvents.sources changed, which needs"),
        (BASE, BASE.replace("name: a", "name: b"), "spec.backends[0].name changed from a to b"),
        (SEVERAL, BASE, "spec.backends: 2 before and 1 now"),
        (SEVERAL, SEVERAL_TURNED.replace("http://b:1", "http://c:1"), "spec.backends[0].url changed from http://b:1"),
        (
            BASE,
            BASE.replace("http://a:1'", "http://a:1', connectTimeout: 500ms"),
            "connectTimeout changed from 2s to 0.5s",
        ),
    ],
)
def test_says_which_setting_needs_a_restart(old: str, new: str, sentence: str) -> None:
    found = list(changes_that_need_a_restart(spec(f"{{{old}}}"), spec(f"{{{new}}}")))
    assert any(sentence in each and each.endswith("needs a restart") for each in found), found


@pytest.mark.parametrize(
    "new",
    [
        "nonWebSocket: Deny",
        "shutdown: {drainWindow: 5s}",
        "clientIPDetection: {xForwardedFor: {numTrustedHops: 1}}",
        "logging: {level: debug}",
    ],
)
def test_other_settings_are_reloaded(new: str) -> None:
    assert list(changes_that_need_a_restart(spec("{}"), spec(f"{{{new}}}"))) == []


def test_other_certificates_need_no_restart() -> None:
    """New connections get what is in force, ended or begun under whichever name."""
    old, new = (spec(f"{{listener: {{tls: {{certFile: {name}, keyFile: b}}}}}}") for name in ("a", "c"))
    assert list(changes_that_need_a_restart(old, new)) == []


def test_the_order_of_backends_counts_only_at_the_start() -> None:
    """Who has migrated puts the other one first, so that a restart keeps to it; and policies are still reloaded."""
    assert not list(changes_that_need_a_restart(spec(f"{{{SEVERAL}}}"), spec(f"{{{SEVERAL_TURNED}}}")))
