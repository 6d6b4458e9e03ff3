from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.ops.rig import Rig


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    yield made
    await made.migrator.close()
    made.log.close()
