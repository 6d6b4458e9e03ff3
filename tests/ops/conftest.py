from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.ops.rig import Rig


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    yield made
    made.log.close()
