"""Who comes into the REST interface: by token, before anything of a body is read, and then by role at each route."""

from typing import Annotated, Final

from fastapi import Depends, FastAPI, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain.topology import Role
from starter import problem
from starter.audit import acts, caller_of
from starter.problem import Unauthenticated
from starter.tokens import AccessTokens, Caller, FailureLimit

MOST_BYTES: Final = 2 * 1024 * 1024
"""Of one request. What is sealed for Temporal is at most 2 MiB; a plan and a candidate have some thousand bytes."""

_BEARER: Final = HTTPBearer(auto_error=False, description="a token of the configuration file")


class Needs:
    """A dependency that gives the caller to a route, if it has this role."""

    def __init__(self, role: Role) -> None:
        self.role = role

    async def __call__(
        self, request: Request, described: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
    ) -> Caller:
        """Who calls. Raises ``NotEntitled`` without the role. ``described`` is for the OpenAPI document alone."""
        caller = caller_of(request.scope)
        if caller is None:
            raise Unauthenticated
        caller.needs(self.role)
        return caller


class Doors:
    """ASGI middleware: everything but the description of the interface needs a token, and no body is too large.

    Failures are counted by address, and an address with too many waits, whatever it sends.
    """

    def __init__(self, app: ASGIApp, tokens: AccessTokens, failures: FailureLimit, is_open: frozenset[str]) -> None:
        self._app, self._tokens, self._failures, self._is_open = app, tokens, failures, is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request in, or answer it here."""
        if scope["type"] != "http" or scope["path"] in self._is_open:
            await self._app(scope, receive, send)
            return
        try:
            acts(scope, self._caller(scope))
        except Unauthenticated as refusal:
            await problem.unauthenticated(refusal.wait)(scope, receive, send)
            return
        await self._app(scope, _bounded(scope, receive), send)

    def _caller(self, scope: Scope) -> Caller:
        client = scope["client"][0] if scope.get("client") else ""
        wait = self._failures.wait(client)
        if wait:
            raise Unauthenticated(wait)
        scheme, _, bearer = Headers(scope=scope).get("authorization", "").partition(" ")
        known = self._tokens.caller(bearer.strip()) if scheme.lower() == "bearer" else None
        if known is None:
            self._failures.failed(client)
            raise Unauthenticated
        return known


def add_doors(app: FastAPI, tokens: AccessTokens, failures: FailureLimit) -> None:
    """Let nobody in to ``app`` without a token; its description stays open."""
    described = {app.openapi_url, app.docs_url, app.swagger_ui_oauth2_redirect_url}
    is_open = frozenset(path for path in described if path)
    app.add_middleware(Doors, tokens=tokens, failures=failures, is_open=is_open)


def _bounded(scope: Scope, receive: Receive) -> Receive:
    length = Headers(scope=scope).get("content-length", "")
    told = int(length[:20]) if length.isascii() and length.isdigit() else 0
    read = 0

    async def bounded() -> Message:
        nonlocal read
        if told > MOST_BYTES:
            raise HTTPException(413)
        message = await receive()
        read += len(message.get("body", b""))
        if read > MOST_BYTES:
            raise HTTPException(413)
        return message

    return bounded
