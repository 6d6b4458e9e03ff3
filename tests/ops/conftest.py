from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer

from tests.ops.api import Api
from tests.ops.rig import Rig
from wsguard.ops.control import control_app


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    yield made
    await made.migrator.close()
    made.log.close()


@pytest.fixture
async def api(rig: Rig) -> AsyncIterator[Api]:
    async with TestClient(TestServer(control_app(rig.control))) as client:
        yield Api(client)
