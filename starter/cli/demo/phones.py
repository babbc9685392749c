"""What the demo asks of the sandbox: faults to make, and how many messages each phone received."""

from collections.abc import Mapping
from typing import Self

import httpx
from pydantic import BaseModel

from domain.model import E164
from starter.cli.demo.story import Cast, Expected


class _Received(BaseModel):
    count: int


class Phones:
    """The sandbox's control API."""

    def __init__(self, port: int) -> None:
        self._http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/control", timeout=10, trust_env=False)

    async def __aenter__(self) -> Self:
        """Open a connection."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self._http.aclose()

    async def arm(self, cast: Cast, numbers: Mapping[str, E164], story: Mapping[str, Expected]) -> None:
        """Let the first send to some of these candidates go wrong."""
        for reference, number in numbers.items():
            expected = story[reference]
            if expected.fault is None:
                continue
            fault = {
                "provider": cast.provider,
                "operation": cast.send,
                "number": number.removeprefix("+"),
                "kind": expected.fault,
                "options": {"retry_after": 2} if expected.fault == "throttle" else {},
            }
            (await self._http.post("/faults", json=fault)).raise_for_status()

    async def received(self, number: E164) -> int:
        """How many messages a phone received from us."""
        answer = await self._http.get(f"/phones/{number.removeprefix('+')}")
        return _Received.model_validate(answer.raise_for_status().json()).count
