"""Shows payloads to Temporal UI and to the ``temporal`` command line: ``/decode`` and ``/encode``.

A request and an answer are a ``temporal.api.common.v1.Payloads`` message as JSON (Temporal: Codec Server).
"""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from google.protobuf import json_format
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from temporalio.api.common.v1 import Payload, Payloads

from domain.errors import NotEntitled, PayloadTooLarge, RapportError, SetupError, StoreUnavailable
from runtime.codec_desk import CodecDesk, Reader
from runtime.codec_requests import PATIENCE, RequestRefused, Turns, check_sender, namespace_of, read_payloads
from runtime.logging import AUDIT

log = structlog.get_logger(AUDIT)  # who looked is told at every level

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
Coding = Callable[[Reader, Sequence[Payload]], Awaitable[list[Payload]]]


class NotAuthenticated(RapportError):
    """No valid token. ``wait`` are seconds to wait when there were too many failures, else 0."""

    def __init__(self, wait: int = 0) -> None:
        self.wait = wait
        super().__init__(f"too many failures: wait {wait} s" if wait else "a valid bearer token is needed")


class Entrance(Protocol):
    """Decides who comes in."""

    async def admit(self, authorization: str, client: str) -> Reader:
        """Who asks, by the ``Authorization`` header and the address. Raises ``NotAuthenticated``, ``NotEntitled``."""
        ...


class DevelopmentEntrance:
    """No token: this machine only, and it sees everything. For a server with the development key."""

    async def admit(self, authorization: str, client: str) -> Reader:
        """The developer. Raises ``NotEntitled`` for another machine."""
        try:
            require_loopback(client)
        except SetupError:
            raise NotEntitled("this server serves its own machine only") from None
        return Reader("development", tenant=None)


def require_loopback(host: str) -> None:
    """Raise ``SetupError`` unless ``host`` can only be reached from this machine."""
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise SetupError(
            f"the development codec server asks for no token, so it listens on 127.0.0.1 only, not on {host}: "
            "unset RAPPORT_CODEC__HOST or run it without --dev and with tokens"
        )


def create_codec_app(
    desk: CodecDesk, ui_origins: Sequence[str], entrance: Entrance, *, patience: float = PATIENCE
) -> FastAPI:
    """The codec server for browsers on ``ui_origins`` and for the command line.

    With a ``DevelopmentEntrance`` it serves this machine only, names included (a page elsewhere cannot reach it by a
    DNS name of its own); give it a desk with the development key. ``patience`` bounds each wait, in seconds.
    """
    app = FastAPI(title="Rapport codec server", docs_url=None, redoc_url=None, openapi_url=None)
    turns = Turns(patience=patience)

    async def answer(request: Request, what: str, coding: Coding) -> Response:
        namespace = namespace_of(request)
        address = request.client.host if request.client else ""
        try:
            check_sender(request, ui_origins)
            reader = await entrance.admit(request.headers.get("authorization", ""), address)
            async with turns.turn():
                payloads = await read_payloads(request, patience)
                coded = await coding(reader, payloads)
                body = await asyncio.to_thread(json_format.MessageToJson, Payloads(payloads=coded))
        except RapportError as error:
            log.warning("codec_refused", what=what, why=type(error).__name__, namespace=namespace)
            return _problem(error)
        changed = sum(before != after for before, after in zip(payloads, coded, strict=True))
        log.info(
            "codec_answered",
            what=what,
            caller=reader.name,
            tenant=reader.tenant or "",
            namespace=namespace,
            count=len(coded),
            changed=changed,
        )
        return Response(body, media_type="application/json", headers={"cache-control": "no-store"})

    @app.post("/decode")
    async def decode(request: Request) -> Response:
        return await answer(request, "decoded", desk.decode)

    @app.post("/encode")
    async def encode(request: Request) -> Response:
        return await answer(request, "encoded", desk.encode)

    if isinstance(entrance, DevelopmentEntrance):
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(LOOPBACK_NAMES))
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(ui_origins),
        allow_methods=["POST"],
        allow_headers=["content-type", "x-namespace", "authorization"],
        allow_credentials=True,
        allow_private_network=True,  # Chromium asks before a page reaches a loopback or private address
    )
    return app


def _problem(error: RapportError) -> JSONResponse:
    headers: dict[str, str] = {}
    match error:
        case NotAuthenticated(wait=wait) if wait:
            status, headers = 429, {"retry-after": str(wait)}
        case NotAuthenticated():
            status, headers = 401, {"www-authenticate": "Bearer"}
        case NotEntitled():
            status = 403
        case RequestRefused():
            status, headers = error.status, error.headers
        case PayloadTooLarge():
            status = 413
        case StoreUnavailable():
            status, headers = 503, {"retry-after": "5"}
        case _:
            status = 400
    return JSONResponse({"message": str(error)}, status, headers)
