from __future__ import annotations

import pytest

from tests.support.guard import Guard


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured is started as ever, on the cores that the benchmark has chosen: they are inherited."""
    monkeypatch.setattr(Guard, "is_born", False)
