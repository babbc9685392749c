"""Which sandbox a request of the control API is for: its addresses are made once, sandboxes come and go."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

_PARTS = "rapport.sandbox.parts"
_Part = TypeVar("_Part")


class Behind:
    """One sandbox's control API: the addresses of all of them, and the parts of this one that answer."""

    def __init__(self, addresses: ASGIApp, *parts: object) -> None:
        self._addresses = addresses
        self._parts = {type(part): part for part in parts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let this sandbox's parts answer a request."""
        await self._addresses({**scope, _PARTS: self._parts}, receive, send)


def behind(kind: type[_Part]) -> Callable[[Request], Awaitable[_Part]]:
    """Find the part of this kind that answers a request: for `Depends`."""

    async def find(request: Request) -> _Part:
        part: _Part = request.scope[_PARTS][kind]
        return part

    return find
