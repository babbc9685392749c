"""What is read of a request to the codec server: bounded in bytes, in parts, in time, and in how many are in hand."""

import asyncio
import re
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Final

from fastapi import Request
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from starlette.requests import ClientDisconnect
from temporalio.api.common.v1 import Payload, Payloads

from domain.errors import BadInput, Mistake, RapportError

MOST_BYTES: Final = 16 * 1024 * 1024
"""A page of a history as JSON; one payload is at most 2 MiB."""

MOST_PAYLOADS: Final = 10_000

MOST_PARTS: Final = 20 * MOST_PAYLOADS
"""Brackets and commas of the JSON: a payload of ours has six. Small parts cost a hundred times their bytes to read."""

AT_ONCE: Final = 4
"""Requests in hand, each of which may cost some hundred MiB. The others wait, before any of their bodies is read."""

PATIENCE: Final = 15.0
"""Seconds that a request waits for its turn, and that a sender may take over one body."""

_NAMESPACE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class RequestRefused(RapportError):
    """The request is not one that we read; ``status`` and ``headers`` are those of the answer."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.headers = status, dict(headers or {})
        super().__init__(text)


class Turns:
    """Lets ``many`` requests be in hand at once, so that what they cost together is bounded."""

    def __init__(self, many: int = AT_ONCE, patience: float = PATIENCE) -> None:
        self._free, self._patience = asyncio.Semaphore(many), patience

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn and hold it during the block. Raises ``RequestRefused`` when none comes in time."""
        try:
            async with asyncio.timeout(self._patience):
                await self._free.acquire()
        except TimeoutError:
            raise RequestRefused(503, "too many requests are in hand: ask again", {"retry-after": "1"}) from None
        try:
            yield
        finally:
            self._free.release()


def check_sender(request: Request, origins: Collection[str]) -> None:
    """Raise ``RequestRefused`` for a page that is not Temporal UI, and for a body that says it is no JSON.

    A browser would keep the answer from such a page; here it gets none at all. Programs send no ``Origin``.
    """
    origin = request.headers.get("origin")
    if origin is not None and origin not in origins:
        raise RequestRefused(403, "pages of this origin may not ask")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and kind != "application/json":
        raise RequestRefused(415, "the body must be application/json")


def namespace_of(request: Request) -> str:
    """What the request says of its namespace, for the log: it opens nothing and closes nothing."""
    told = request.headers.get("x-namespace", "")
    return told if not told or _NAMESPACE.fullmatch(told) else "(not a name)"


async def read_payloads(request: Request, patience: float = PATIENCE) -> list[Payload]:
    """The payloads of a request. Raises ``RequestRefused`` beyond a bound, ``BadInput`` for anything else."""
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length[:20]) > MOST_BYTES:
        raise _too_large(f"more than {MOST_BYTES // 1024 // 1024} MiB")
    try:
        async with asyncio.timeout(patience):
            body = await _body(request)
    except TimeoutError:
        raise RequestRefused(408, f"the body did not come within {patience:g} s", {"connection": "close"}) from None
    except ClientDisconnect:
        raise RequestRefused(400, "the sender went away") from None
    if sum(body.count(mark) for mark in (b",", b"{", b"[")) > MOST_PARTS:
        raise _too_large(f"more than {MOST_PAYLOADS} payloads, or larger ones in parts")
    payloads = await asyncio.to_thread(_parsed, body)
    if len(payloads) > MOST_PAYLOADS:
        raise _too_large(f"more than {MOST_PAYLOADS} payloads")
    return payloads


async def _body(request: Request) -> bytearray:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise _too_large(f"more than {MOST_BYTES // 1024 // 1024} MiB")
    return body


def _parsed(body: bytearray) -> list[Payload]:
    try:
        return list(json_format.Parse(body.decode("utf-8"), Payloads()).payloads)
    except (json_format.ParseError, DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        raise BadInput([Mistake("the body is not a Payloads message as JSON")]) from None


def _too_large(what: str) -> RequestRefused:
    return RequestRefused(413, f"the request has {what}")
