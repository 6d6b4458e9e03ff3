"""connections, logout and drain against a control API on a real Unix socket, run as an operator runs them."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import socket
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.ops.rig import Rig
from tests.sessions.fakes import connection, identity, link_of
from tests.support.waiting import eventually
from wsguard.cli import main
from wsguard.ops.control import control_app
from wsguard.ops.control_socket import ControlSocket, serve_control
from wsguard.ops.redact import digest
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.identity import cookie_digest


class Operator:
    """Runs commands in another thread, as the guard runs in this one."""

    def __init__(self, path: Path, rig: Rig, control: ControlSocket) -> None:
        self.path, self.rig, self.control = path, rig, control

    async def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Exit status, stdout and stderr."""
        return await asyncio.to_thread(run, *arguments, "--control", str(self.path))


class Terminal(io.StringIO):
    """stderr; none, unless a test says that it is one."""


def run(*arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), Terminal()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(arguments)
        except SystemExit as end:  # argparse
            status = int(end.code or 0)
    assert "Traceback" not in err.getvalue()
    return status, out.getvalue(), err.getvalue()


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.delenv("WSGUARD_CONTROL", raising=False)
    with tempfile.TemporaryDirectory(prefix="wsguard-") as folder:
        yield Path(folder)


@pytest.fixture
async def operator(home: Path) -> AsyncIterator[Operator]:
    rig = Rig()
    path = home / "control.sock"
    control = await serve_control(control_app(rig.control), path)
    yield Operator(path, rig, control)
    await control.close()
    await rig.migrator.close()
    rig.log.close()


async def test_connections_are_an_aligned_table(operator: Operator) -> None:
    operator.rig.connect("c1", identity("alice", sid="s1"))
    operator.rig.connect("connection-2", path="/a\x1b[31m")
    status, out, err = await operator("connections")
    assert (status, err) == (0, "")
    head, first, second = out.splitlines()
    assert head.split() == [
        "ID", "STREAM", "POLICY", "SUBJECT", "SID", "CLIENT", "PATH", "OPENED", "EXPIRES", "MESSAGES", "BYTES", "STATE",
    ]  # fmt: skip
    assert first.split() == [
        "c1", "WebSocket", "chat", "alice", digest("s1"), "192.0.2.7", "/ws",
        "1970-01-01T00:16:40.000Z", "1970-01-01T01:16:40.000Z", "0/0", "0/0", "open",
    ]  # fmt: skip
    assert second.split()[3:5] == ["-", "-"]
    assert "\\x1b[31m" in second
    assert "\x1b" not in out
    assert [line.index(word) for line, word in ((head, "POLICY"), (first, "chat"), (second, "chat"))] == [25] * 3


async def test_connections_as_json_and_filtered(operator: Operator) -> None:
    operator.rig.connect("a1", identity("alice", sid="s1"))
    operator.rig.connect("a2", identity("alice", sid="s2"), policy="ops")
    operator.rig.connect("b1", identity("bob", sid="s&3 ü"))

    async def ids(*arguments: str) -> list[str]:
        status, out, _ = await operator("connections", "--json", *arguments)
        assert status == 0
        return [one["id"] for one in json.loads(out)["connections"]]

    assert await ids() == ["a1", "a2", "b1"]
    assert await ids("--subject", "alice", "--policy", "ops") == ["a2"]
    assert await ids("--sid", "s&3 ü") == ["b1"]
    assert await ids("--sid", digest("s1")) == ["a1"]


async def test_more_connections_than_a_page_holds(operator: Operator) -> None:
    for number in range(2_345):
        operator.rig.connect(f"c{number:04}")
    _, out, _ = await operator("connections")
    assert len(out.splitlines()) == 2_346


async def test_no_connections_is_an_empty_table(operator: Operator) -> None:
    status, out, _ = await operator("connections")
    assert (status, len(out.splitlines())) == (0, 1)


async def test_logout_closes_and_says_how_many(operator: Operator) -> None:
    one = operator.rig.connect("c1", identity("alice", sid="s1", jti="j1", issued_at=100.0))
    operator.rig.connect("c2", identity("alice", sid="s2", jti="j2", issued_at=300.0))
    assert await operator("logout", "--sid", "s1") == (0, "closed 1 connection\n", "")
    assert link_of(one).reason is CloseReason.LOGGED_OUT
    assert (await operator("logout", "--jti", "j3"))[1] == "closed 0 connections\n"
    assert (await operator("logout", "--subject", "alice", "--issued-before", "200"))[1] == "closed 1 connection\n"
    assert (await operator("logout", "--subject", "alice", "--issuer", "https://idp.test"))[
        1
    ] == "closed 2 connections\n"


@pytest.mark.parametrize(("given", "status"), [(b"s\xc3\xa9\n", 0), (b"s\xe9\n", 2)])
async def test_a_cookie_to_log_out_is_utf_8_in_any_locale(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, given: bytes, status: int
) -> None:
    one = connection("c1", watched=(cookie_digest("sé"),))
    operator.rig.registry.add(one)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given), encoding="latin-1"))
    complaint = "wsguard logout: --cookie -: standard input must be UTF-8; name the session by its sid\n"
    expected = (status, "", complaint) if status else (0, "closed 1 connection\n", "")
    assert await operator("logout", "--cookie", "-") == expected


async def test_what_the_guard_refuses_is_one_sentence(operator: Operator) -> None:
    operator.rig.issuers.append("https://other.test")
    status, out, err = await operator("logout", "--subject", "alice")
    assert (status, out) == (2, "")
    assert err.startswith("wsguard logout: several issuers are configured, say which: ")
    assert err.count("\n") == 1


async def test_a_drain_begins_waits_and_is_taken_back(operator: Operator) -> None:
    operator.rig.connect("c1")
    assert await operator("drain", "--window", "1h") == (0, "draining 1 connection over 1h\n", "")
    assert operator.rig.drainer.is_draining
    assert await operator("drain", "--cancel") == (0, "the guard takes connections again\n", "")
    assert not operator.rig.drainer.is_draining
    operator.rig.registry.remove("c1")
    operator.rig.connect_leaving(3)
    status, out, _ = await operator("drain", "--window", "300ms", "--wait")
    assert (status, out) == (0, "draining 3 connections over 300ms\ndrained, 0 connections left\n")


async def test_in_a_terminal_there_is_a_bar(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Terminal, "isatty", lambda self: True)
    operator.rig.connect_leaving(3)
    status, out, err = await operator("drain", "--window", "2s", "--wait")
    assert (status, out) == (0, "draining 3 connections over 2s\ndrained, 0 connections left\n")
    assert f"\r\x1b[K[{'.' * 30}] 0 of 3 closed, 0/s, 2s to go" in err
    assert err.endswith("\r\x1b[K"), "nothing is left of it"


async def test_a_drain_may_begin_later(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[tuple[float, bool]] = []
    monkeypatch.setattr("time.sleep", lambda seconds: slept.append((seconds, operator.rig.drainer.is_draining)))
    status, out, _ = await operator("drain", "--after", "1m30s", "--window", "1h")
    assert (status, out) == (0, "draining 0 connections over 1h\n")
    assert slept == [(90.0, False)]


async def test_a_finished_drain_is_told_once(operator: Operator) -> None:
    operator.rig.drainer.start(0.0)
    await asyncio.wait_for(operator.rig.drainer.wait(), 5)
    assert await operator("drain", "--wait") == (0, "drained, 0 connections left\n", "")


async def test_who_waits_learns_that_the_drain_was_taken_back(operator: Operator) -> None:
    operator.rig.connect("c1")
    waiting = asyncio.create_task(operator("drain", "--window", "1h", "--wait"))
    while not operator.rig.drainer.is_draining:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    operator.rig.drainer.cancel()
    status, _, err = await asyncio.wait_for(waiting, 10)
    assert (status, err) == (2, "wsguard drain: the drain was cancelled\n")


async def test_a_guard_that_ends_meanwhile_has_drained(operator: Operator) -> None:
    operator.rig.connect("c1")
    waiting = asyncio.create_task(operator("drain", "--wait"))
    while not operator.rig.drainer.is_draining:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await operator.control.close()
    status, out, _ = await asyncio.wait_for(waiting, 10)
    assert (status, out.splitlines()[-1]) == (0, "the guard has ended")


async def test_a_migration_begins_is_shown_and_aborted(operator: Operator) -> None:
    operator.rig.connect("c1")
    status, out, _ = await operator("migrate")
    assert (status, [line.split() for line in out.splitlines()]) == (
        0,
        [
            ["BACKEND", "CONNECTIONS", "HANDSHAKES", "REQUESTS"],
            ["default", "(active)", "1", "0", "0"],
            ["green", "0", "0", "0"],
            ["idle"],
        ],
    )
    begun = await operator("migrate", "--to", "green", "--window", "1h")
    assert begun == (0, "moving 1 connection to green over 1h\n", "")
    assert (await operator("migrate"))[1].splitlines()[-1] == "migrating: from default to green, 1 of 1 left"
    assert [line.split()[0] for line in (await operator("connections", "--backend", "green"))[1].splitlines()] == ["ID"]
    aborted = await operator("migrate", "--abort")
    assert aborted == (0, "aborted: new connections go to default, those at green stay there\n", "")
    assert operator.rig.backends.active_name == "default"
    last = (await operator("migrate"))[1].splitlines()[-1]
    assert last == "aborted: from default to green, 1 of 1 left; an operator has asked for it"
    assert await operator("migrate", "--abort") == (2, "", "wsguard migrate: no migration is under way\n")
    operator.rig.backends.away["green"] = "green cannot be dialled: refused"
    refused = await operator("migrate", "--to", "green")
    assert refused == (2, "", "wsguard migrate: green cannot be dialled: refused\n")


async def test_who_waits_for_a_migration_hears_of_its_pauses(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Terminal, "isatty", lambda self: True)
    monkeypatch.setattr("wsguard.ops.lookout.LOOK", 0.05)
    rig = operator.rig
    rig.connect("c1")
    waiting = asyncio.create_task(operator("migrate", "--to", "green", "--window", "300ms", "--wait"))
    await eventually(lambda: rig.migrator.is_under_way)
    rig.backends.away["green"] = "green cannot be dialled: refused"
    await eventually(lambda: rig.migrator.status.state.value == "paused")
    await asyncio.sleep(1.0)  # the command looks four times a second
    del rig.backends.away["green"]
    await asyncio.sleep(1.0)
    rig.backends.under_way["default"][1] = 2
    rig.registry.remove("c1")
    status, out, err = await asyncio.wait_for(waiting, 10)
    assert status == 0
    assert out.splitlines() == [
        "moving 1 connection to green over 300ms",
        "paused: green cannot be dialled: refused",
        "goes on",
        "moved to green: default has 0 connections, 2 plain requests under way",
    ]
    assert "0 of 1 closed, 0/s, paused" in err


async def test_who_waits_learns_that_the_migration_was_aborted(operator: Operator) -> None:
    operator.rig.connect("c1")
    assert (await operator("migrate", "--wait"))[2] == "wsguard migrate: no migration is under way\n"
    waiting = asyncio.create_task(operator("migrate", "--to", "green", "--window", "1h", "--wait"))
    await eventually(lambda: operator.rig.migrator.is_under_way)
    await operator.rig.migrator.abort()
    status, _, err = await asyncio.wait_for(waiting, 10)
    assert (status, err) == (2, "wsguard migrate: the migration was aborted: an operator has asked for it\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("logout",),
        ("logout", "--sid", "a", "--jti", "b"),
        ("logout", "--subject", "a", "--issued-before", "yesterday"),
        ("drain", "--wait", "--cancel"),
        ("drain", "--cancel", "--window", "3s"),
        ("drain", "--cancel", "--after", "3s"),
        ("drain", "--after", "soon"),
        ("drain", "--after", "1h", "--window", "soon"),
        ("drain", "--window", "soon"),
        ("drain", "--window", ""),
        ("connections", "--limit"),
        ("migrate", "--to", "green", "--abort"),
        ("migrate", "--window", "3s"),
        ("migrate", "--abort", "--wait"),
        ("migrate", "--to", "nowhere"),
        ("migrate", "--to", "green", "--window", "soon"),
    ],
)
async def test_bad_usage_is_2(operator: Operator, arguments: tuple[str, ...]) -> None:
    status, out, err = await operator(*arguments)
    assert (status, out) == (2, "")
    assert err
    assert not operator.rig.drainer.is_draining


@pytest.mark.parametrize("command", [("connections",), ("logout", "--sid", "s"), ("drain",), ("drain", "--wait")])
def test_without_a_guard_there_is_one_sentence(
    home: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    path = home / "control.sock"
    for arguments in (("--control", str(path)), ("--control", "none")):
        status, out, err = run(*command, *arguments)
        assert (status, out, err.count("\n")) == (2, "", 1)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert run(*command, "--control", str(path))[0] == 2
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))
    status, _, err = run(*command)
    assert (status, err) == (
        2,
        f"wsguard {command[0]}: no guard answers at {home}/wsguard/control.sock: is one running there?\n",
    )


def test_a_folder_that_somebody_else_made_is_not_trusted(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "wsguard").mkdir()
    (home / "wsguard").chmod(0o777)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))
    status, _, err = run("logout", "--sid", "secret")
    assert status == 2
    assert "open to others" in err


@pytest.mark.parametrize(
    "answer", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", b"HTTP/1.1 200 OK\r\n"]
)
def test_what_is_no_guard_is_told_from_one(home: Path, answer: bytes) -> None:
    path = home / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def reply() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        status, out, err = run("connections", "--control", str(path))
        thread.join(10)
    assert (status, out, err.count("\n")) == (2, "", 1)


async def test_the_environment_names_the_socket(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSGUARD_CONTROL", str(operator.path))
    status, _, _ = await asyncio.to_thread(run, "connections")
    assert status == 0


async def test_commands_start_without_what_they_do_not_need(operator: Operator) -> None:
    """A hook execs them: importing the server's libraries would take longer than the answer."""
    code = (
        "import sys; from wsguard.cli import main; status = main(sys.argv[1:]);"
        "heavy = {'aiohttp', 'pydantic', 'prometheus_client', 'asyncio', 'jwt', 'yaml'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else status)"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, "connections", "--control", str(operator.path),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, err = await process.communicate()
    assert (process.returncode, err.decode()) == (0, "")
