"""The control API, asked over HTTP."""

from __future__ import annotations

import json
from typing import Any

from aiohttp.test_utils import TestClient


class Api:
    """Asks, and checks that every error is a problem."""

    def __init__(self, client: TestClient[Any, Any]) -> None:
        self._client = client

    async def ask(self, method: str, path: str, body: object = None, status: int = 200) -> Any:
        """The answer; of an error, its detail."""
        data = body if isinstance(body, (str, bytes)) or body is None else json.dumps(body)
        async with self._client.request(method, path, data=data) as response:
            assert response.status == status, await response.text()
            if status < 400:
                return await response.json()
            assert response.content_type == "application/problem+json"
            problem = json.loads(await response.text())
            assert problem["status"] == status
            assert problem["title"]
            return problem["detail"]
