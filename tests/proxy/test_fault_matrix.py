"""Each stage of a connection's life × who fails there × how: it ends as expected, once, and leaves nothing behind."""

from __future__ import annotations

import asyncio

import pytest

from tests.proxy.faults import FAULTS, STAGES, Scene, cannot_happen, scene, works
from tests.support.waiting import eventually
from wsguard.proxy import redialer, teardown
from wsguard.sessions.lifecycle import Phase

PATIENCE = 1.0  # seconds, in place of half a minute
SIDES = ("client", "backend")

Cell = tuple[str, str, str]
CELLS: list[Cell] = [
    (stage, who, how) for stage in STAGES for who in SIDES for how in FAULTS if not cannot_happen(stage, who, how)
]

DEAD = "keepalive-timeout"

ENDS: dict[tuple[str, str], str | dict[str, str]] = {
    # The door. "": nobody has asked for anything; a number is the status of a plain HTTP answer.
    ("half-a-head", "client"): {"reset": "", "half-close": "", "silence": "408", "garbage": "400", "slow": "400"},
    ("dialled", "client"): {"reset": "client-lost", "half-close": "client-lost", "*": "backend-timeout"},
    ("dialled", "backend"): {"silence": "backend-timeout", "*": "backend-invalid"},
    ("half-an-answer", "client"): {"reset": "client-lost", "half-close": "client-lost", "*": "backend-timeout"},
    # Garbage may still be the rest of a header field that does not end.
    ("half-an-answer", "backend"): {
        "reset": "backend-invalid",
        "half-close": "backend-invalid",
        "*": "backend-timeout",
    },
    ("awaited-message", "client"): {
        "reset": "client-lost",
        "half-close": "client-lost",
        "silence": "first-message-timeout",
        "garbage": "protocol-error",
        "slow": "message-too-big",
    },
    ("refused", "client"): "draining",
    # Open. Whoever is silent is pinged; within a frame all bytes are good, and nobody can be pinged.
    ("open", "client"): {"silence": DEAD, "slow": DEAD, "garbage": "protocol-error", "*": "client-lost"},
    ("open", "backend"): {"silence": DEAD, "slow": DEAD, "garbage": "protocol-error", "*": "backend-lost"},
    ("mid-frames", "client"): {"reset": "client-lost", "half-close": "client-lost", "*": "open"},
    ("mid-frames", "backend"): {"reset": "backend-lost", "half-close": "backend-lost", "*": "open"},
    # Held: what the backend does is tried again until the time is up.
    ("held", "client"): {
        "silence": "backend-lost",
        "garbage": "protocol-error",
        "slow": "backend-lost",
        "*": "client-lost",
    },
    ("redialled", "client"): {
        "silence": "backend-lost",
        "garbage": "protocol-error",
        "slow": "backend-lost",
        "*": "client-lost",
    },
    ("redialled", "backend"): "backend-lost",
    # The end has begun: its cause stands, whatever comes behind it.
    ("client-closing", "client"): "client-closed",
    ("client-closing", "backend"): "client-closed",
    ("backend-closing", "client"): "backend-closed",
    ("backend-closing", "backend"): "backend-closed",
    ("half-closed", "client"): "client-lost",
    ("half-closed", "backend"): "client-lost",
    ("closing", "client"): "session-expired",
    ("closing", "backend"): "session-expired",
    ("client-left", "client"): "backend-lost",
    ("backend-left", "backend"): "client-lost",
}


def expected(cell: Cell) -> str:
    """How this one is to end."""
    stage, who, how = cell
    ends = ENDS[stage, who]
    return ends if isinstance(ends, str) else ends.get(how, ends.get("*", "?"))


@pytest.fixture(autouse=True)
def less_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teardown, "PATIENCE", PATIENCE)
    monkeypatch.setattr(redialer, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(redialer, "LONGEST_PAUSE", 0.2)


def test_no_cell_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    """Every phase has its stages, every fault its expectation; what is left out cannot happen."""
    assert {phase for phase, _ in STAGES.values()} == set(Phase) - {Phase.ENDED}
    assert {(stage, who) for stage, who, _ in CELLS} == set(ENDS)
    assert "?" not in {expected(cell) for cell in CELLS}
    everything = len(STAGES) * len(SIDES) * len(FAULTS)
    with capsys.disabled():
        print(
            f"\nfaults: {len(CELLS)} cells of {len(STAGES)} stages x {len(SIDES)} peers x {len(FAULTS)} faults", end=""
        )
        print(f", {everything - len(CELLS)} cannot happen")


@pytest.mark.parametrize("stage", STAGES)
async def test_every_fault_in(stage: str) -> None:
    """All at once, each with a guard of its own."""
    tasks = len(asyncio.all_tasks())
    cells = [cell for cell in CELLS if cell[0] == stage]
    ends = dict(zip(cells, await asyncio.gather(*map(_play, cells)), strict=True))
    assert ends == {cell: expected(cell) for cell in cells}
    await eventually(lambda: len(asyncio.all_tasks()) == tasks, what="no task that is left over")


async def _play(cell: Cell) -> str:
    stage, who, how = cell
    async with scene(stage) as made:
        peer = made.peer(who)
        assert peer is not None
        await FAULTS[how](peer)
        if expected(cell) == "open":
            assert [connection.link.state for connection in made.house.registry] == ["open"], cell
            assert not made.house.notebook.ends
            outcome = "open"
        else:
            await eventually(lambda: _is_over(made), PATIENCE + 4.0, f"the end of {cell}")
            outcome = _recorded(made, cell)
        await works(made.house, made.backend)
    assert len(made.house.notebook.ends) == len([d for d in made.house.notebook.decisions if d.result == "admitted"])
    return outcome


def _is_over(made: Scene) -> bool:
    return made.house._is_empty() and not made.house.door.connections


def _recorded(made: Scene, cell: Cell) -> str:
    """The reason on record: of the one connection, of its refusal, or the status of a plain answer."""
    notebook = made.house.notebook
    assert len(notebook.ends) + len(notebook.turned) <= 1, cell
    assert len(notebook.decisions) <= 1, cell
    if notebook.ends:
        return notebook.ends[0].reason.token
    if notebook.decisions:
        decided = notebook.decisions[0]
        assert decided.result == "refused", cell
        return decided.reason.token if decided.reason else "none"
    return str(int(notebook.turned[0][0])) if notebook.turned else ""
