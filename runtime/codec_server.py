"""Shows payloads to Temporal UI and to the ``temporal`` command line: ``/decode`` and ``/encode``.

A request and an answer are a ``temporal.api.common.v1.Payloads`` message as JSON (Temporal: Codec Server).
"""

import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from pydantic import SecretStr
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.converter import PayloadCodec

from domain.errors import BadInput, Mistake, NotEntitled, RapportError, SetupError

log = structlog.get_logger()

MOST_BYTES = 16 * 1024 * 1024
"""A page of a history as JSON; one payload is at most 2 MiB."""

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
Coding = Callable[[Sequence[Payload]], Awaitable[list[Payload]]]


@dataclass(frozen=True)
class CodecToken:
    """A bearer token and the name under which its use is logged."""

    name: str
    token: SecretStr


class _TooLarge(RapportError):
    """The request is larger than we read."""


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
    codec: PayloadCodec, ui_origins: Sequence[str], *, dev: bool, tokens: Sequence[CodecToken] = ()
) -> FastAPI:
    """The codec server for browsers on ``ui_origins`` and for the command line.

    ``dev`` asks for no token and serves this machine only, names included (a page elsewhere cannot reach it by a DNS
    name of its own); give it a codec with the development key. Otherwise every request needs one of ``tokens``.
    Raises ``SetupError`` for a server without tokens outside development.
    """
    if not dev and not tokens:
        raise SetupError("a codec server outside development needs at least one token")
    app = FastAPI(title="Rapport codec server", docs_url=None, redoc_url=None, openapi_url=None)
    entrance = _Entrance(() if dev else tuple(tokens), dev=dev)

    async def answer(request: Request, what: str, coding: Coding) -> Response:
        try:
            caller = entrance.admit(request)
            payloads = await _read(request)
            coded = await coding(payloads)
        except RapportError as error:
            return _problem(error)
        log.info("codec_answered", what=what, caller=caller, namespace=_namespace(request), count=len(coded))
        return Response(json_format.MessageToJson(Payloads(payloads=coded)), media_type="application/json")

    @app.post("/decode")
    async def decode(request: Request) -> Response:
        return await answer(request, "decoded", codec.decode)

    @app.post("/encode")
    async def encode(request: Request) -> Response:
        return await answer(request, "encoded", codec.encode)

    if dev:
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


class _Entrance:
    """Who may come in. A scope per tenant belongs here: ``admit`` knows the caller and the request's namespace."""

    def __init__(self, tokens: tuple[CodecToken, ...], *, dev: bool) -> None:
        self._tokens, self._dev = tokens, dev

    def admit(self, request: Request) -> str:
        """The caller's name. Raises ``NotEntitled``."""
        if self._dev:
            host = request.client.host if request.client else ""
            try:
                require_loopback(host)
            except SetupError:
                raise NotEntitled("this server serves its own machine only") from None
            return "development"
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        found = ""
        for known in self._tokens:  # all of them, so that time tells nothing
            expected = known.token.get_secret_value().encode()
            if hmac.compare_digest(expected, given.strip().encode()) and scheme.lower() == "bearer":
                found = known.name
        if not found:
            raise NotEntitled("a valid bearer token is needed")
        return found


async def _read(request: Request) -> list[Payload]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise _TooLarge(f"the request is larger than {MOST_BYTES // 1024 // 1024} MiB")
    try:
        return list(json_format.Parse(bytes(body).decode("utf-8"), Payloads()).payloads)
    except (json_format.ParseError, DecodeError, UnicodeDecodeError, RecursionError):
        raise BadInput([Mistake("the body is not a Payloads message as JSON")]) from None


def _problem(error: RapportError) -> JSONResponse:
    match error:
        case NotEntitled():
            status = 401
        case _TooLarge():
            status = 413
        case _:
            status = 400
    headers = {"www-authenticate": "Bearer"} if status == 401 else {}
    return JSONResponse({"message": str(error)}, status, headers)


def _namespace(request: Request) -> str:
    return request.headers.get("x-namespace", "")[:64]
