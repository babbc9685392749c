"""The webhook listener: a plain ASGI application at ``/webhooks/{provider}/{account}``.

A delivery is verified on its raw bytes, stored, and only then answered 200; everything else happens later. The path to
the answer has no framework and no thread hop but the commit.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import parse_qsl

import structlog
from prometheus_client import Counter

from domain.errors import HandshakeRefused, StoreUnavailable, WebhookRefused
from gateway.deadlines import Deadlines
from gateway.metrics import GatewayMetrics
from store.inbox import Delivery

log = structlog.get_logger()

Message = MutableMapping[str, Any]  # ASGI leaves the values of its messages open
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Respond = Callable[[Message], Awaitable[None]]

BODY_LIMIT = 3 * 1024 * 1024
"""Bytes of one delivery (A-C3)."""
BODY_TIME = 15.0
"""Seconds that a sender may take over one body."""
COMMIT_TIME = 10.0
"""Seconds to wait for the store before 503; what is committed after all is dropped as a repeat when it comes again."""

_EMPTY = (b"content-length", b"0")
_SAFE = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)


class Verifier(Protocol):
    """As much of a reader as the door needs; ``domain.ports.WebhookReader`` is one."""

    def handshake(self, query: Mapping[str, str]) -> str | None:
        """The text to answer to a subscription handshake; None where there is none. Raises ``HandshakeRefused``."""
        ...

    def verify(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Raise ``WebhookRefused`` unless the raw bytes are authentic."""
        ...


@dataclass(frozen=True)
class Door:
    """Where the deliveries of one account come in."""

    provider: str
    account: str
    reader: Verifier
    committer: "Committer | None" = None
    """Who keeps what comes in here, where it is not the inbox of provider events."""


class Committer(Protocol):
    """Stores one delivery, perhaps together with others."""

    async def keep(self, delivery: Delivery) -> None:
        """Return once it is durable. Raises ``StoreUnavailable``."""
        ...


@dataclass(frozen=True)
class _Answer:
    status: int
    verdict: str
    text: bytes = b""
    more: tuple[tuple[bytes, bytes], ...] = ()
    safe: tuple[tuple[bytes, bytes], ...] = _SAFE


_KEPT = _Answer(200, "kept", safe=())  # to a provider's program, and with nothing in it that a browser could interpret
_REFUSED = _Answer(401, "refused")
_NOWHERE = _Answer(404, "no-account")
_TOO_LARGE = _Answer(413, "too-large", more=((b"connection", b"close"),))
_TOO_SLOW = _Answer(408, "too-slow", more=((b"connection", b"close"),))
_STORE_DOWN = _Answer(503, "store-down", more=((b"retry-after", b"5"),))
_DEFECT = _Answer(500, "defect")


class _TooLargeError(Exception):
    """The body is, or says that it is, larger than the limit."""


class _GoneError(Exception):
    """The sender went away before the whole body had come."""


class WebhookApp:
    """The ASGI application. ``doors`` are all accounts that this gateway receives for."""

    def __init__(
        self,
        doors: Mapping[tuple[str, str], Door],
        committer: Committer,
        metrics: GatewayMetrics,
        clock: Callable[[], datetime],
    ) -> None:
        self._doors = dict(doors)
        self._committer = committer
        self._metrics = metrics
        self._clock = clock
        self._counters: dict[tuple[str, str, str], Counter] = {}
        self._body_times, self._commit_times = Deadlines(BODY_TIME), Deadlines(COMMIT_TIME)

    async def __call__(self, scope: Scope, receive: Receive, respond: Respond) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"the webhook listener speaks HTTP only, not {scope['type']}")
        door = self._door(scope["path"])
        try:
            answer = await self._answer(door, scope, receive)
        except _GoneError:
            self._count(door, "gone")
            return
        self._count(door, answer.verdict)
        headers = [_EMPTY, *answer.safe, *answer.more]
        if answer.text:
            headers[0] = (b"content-length", str(len(answer.text)).encode())
            headers.append((b"content-type", b"text/plain; charset=utf-8"))
        await respond({"type": "http.response.start", "status": answer.status, "headers": headers})
        await respond({"type": "http.response.body", "body": answer.text})

    def _door(self, path: str) -> Door | None:
        match path.split("/"):
            case ["", "webhooks", provider, account]:
                return self._doors.get((provider, account))
        return None

    def _count(self, door: Door | None, verdict: str) -> None:
        # a path is anybody's text: no label
        labels = (door.provider, door.account, verdict) if door else ("", "", verdict)
        counter = self._counters.get(labels)
        if counter is None:
            counter = self._counters[labels] = self._metrics.webhooks.labels(*labels)
        counter.inc()

    async def _answer(self, door: Door | None, scope: Scope, receive: Receive) -> _Answer:
        if door is None:
            return _NOWHERE
        match scope["method"]:
            case "POST":
                return await self._delivery(door, scope, receive)
            case "GET":
                return _handshake(door, scope["query_string"])
        return _Answer(405, "method", more=((b"allow", b"GET, POST"),))

    async def _delivery(self, door: Door, scope: Scope, receive: Receive) -> _Answer:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            with self._body_times.one():
                body = await _read(headers.get("content-length", ""), receive)
        except _TooLargeError:
            return _TOO_LARGE
        except TimeoutError:
            return _TOO_SLOW
        started = time.perf_counter()
        try:
            door.reader.verify(body, headers)
        except WebhookRefused:
            return _REFUSED
        except Exception as error:  # noqa: BLE001 - a defect in a reader must not show a delivery in a traceback
            return _broke("webhook_verification_broke", door.account, error, _DEFECT)
        key = headers.get("webhook-id", "") if door.committer is not None else ""
        delivery = Delivery(door.provider, door.account, body, self._clock(), key)
        answer = await self._keep(delivery, door.committer or self._committer)
        self._metrics.answering.observe(time.perf_counter() - started)
        return answer

    async def _keep(self, delivery: Delivery, committer: Committer) -> _Answer:
        try:
            with self._commit_times.one():
                await committer.keep(delivery)
        except (StoreUnavailable, TimeoutError) as error:
            log.warning("webhook_not_kept", account=delivery.account, error=_name(error))
            return _STORE_DOWN
        except Exception as error:  # noqa: BLE001 - whatever it was, it is not stored: the provider must come again
            return _broke("webhook_not_kept", delivery.account, error, _STORE_DOWN)
        return _KEPT


def _handshake(door: Door, query: bytes) -> _Answer:
    try:
        challenge = door.reader.handshake(dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)))
    except HandshakeRefused as refused:
        return _Answer(refused.http_status, "handshake-refused")
    if challenge is None:
        return _Answer(405, "method", more=((b"allow", b"POST"),))
    return _Answer(200, "handshake", text=challenge.encode())


async def _read(declared: str, receive: Receive) -> bytes:
    """The whole body; refused as soon as its size is known to be over the limit."""
    if declared.isdecimal() and int(declared[:12]) > BODY_LIMIT:
        raise _TooLargeError
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _GoneError
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > BODY_LIMIT:
            raise _TooLargeError
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _broke(what: str, account: str, error: Exception, answer: _Answer) -> _Answer:
    """Report a defect without its traceback, which could show a delivery."""
    log.error(what, account=account, error=_name(error))
    return answer


def _name(error: Exception) -> str:
    return type(error).__name__
