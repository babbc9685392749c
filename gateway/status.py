"""Health, readiness and metrics, in front of the REST application on the same listener.

``/health``: this process runs. ``/ready``: deliveries can be taken, which needs the store; Temporal is reported, and
not required, because the inbox takes deliveries without it. ``/metrics``: Prometheus. None of them needs a token, and
none tells anything of a tenant or a person.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from temporalio.client import Client
from temporalio.service import RPCError

from domain.errors import StoreUnavailable
from gateway.webhooks import Receive, Respond, Scope

log = structlog.get_logger()

READY_TIME = 2.0
"""Seconds that the store may take before it counts as not reachable."""
WATCH_EVERY = 5.0
"""Seconds between two looks at Temporal."""
WATCH_TIME = 3.0

_PLAIN = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))

Application = Callable[[Scope, Receive, Respond], Awaitable[None]]
"""Any ASGI application."""


class TemporalWatch:
    """Looks at Temporal from time to time, so that a probe never waits for it."""

    def __init__(self, client: Client | None) -> None:
        self._client = client
        self.state = "unknown"

    async def round(self) -> float:
        """One look; returns the seconds until the next."""
        before, self.state = self.state, await self._look()
        if self.state != before:
            log.info("temporal_reachability", temporal=self.state)
        return WATCH_EVERY

    async def _look(self) -> str:
        if self._client is None:
            return "not-configured"
        try:
            async with asyncio.timeout(WATCH_TIME):
                serving = await self._client.service_client.check_health()
        except (RPCError, RuntimeError, TimeoutError):  # a lazy client that cannot connect raises RuntimeError
            return "unreachable"
        return "reachable" if serving else "unreachable"


class StatusApp:
    """Answers the status routes and hands everything else to the REST application."""

    def __init__(
        self,
        rest: Application,
        store_ready: Callable[[], Awaitable[None]],
        temporal: TemporalWatch,
        registry: CollectorRegistry,
    ) -> None:
        self._rest = rest
        self._store_ready = store_ready
        self._temporal = temporal
        self._registry = registry
        self.stopping = False

    async def __call__(self, scope: Scope, receive: Receive, respond: Respond) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] not in ("/health", "/ready", "/metrics"):
            await self._rest(scope, receive, respond)
            return
        if scope["method"] not in ("GET", "HEAD"):
            await _answer(respond, 405, b"", b"text/plain", ((b"allow", b"GET, HEAD"),))
            return
        status, body, kind = await self._status(scope["path"])
        await _answer(respond, status, body if scope["method"] == "GET" else b"", kind)

    async def _status(self, path: str) -> tuple[int, bytes, bytes]:
        if path == "/metrics":
            return 200, generate_latest(self._registry), CONTENT_TYPE_LATEST.encode()
        if path == "/health":
            return 200, _json({"status": "up"}), b"application/json"
        store = await self._store()
        ready = store == "reachable" and not self.stopping
        said = {
            "status": "ready" if ready else "not-ready",
            "store": store,
            "temporal": self._temporal.state,
            "stopping": self.stopping,
        }
        return (200 if ready else 503), _json(said), b"application/json"

    async def _store(self) -> str:
        try:
            async with asyncio.timeout(READY_TIME):
                await self._store_ready()
        except (StoreUnavailable, TimeoutError):
            return "unreachable"
        return "reachable"


def _json(said: dict[str, str | bool]) -> bytes:
    return json.dumps(said).encode()


async def _answer(
    respond: Respond, status: int, body: bytes, kind: bytes, more: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *_PLAIN, *more]
    await respond({"type": "http.response.start", "status": status, "headers": headers})
    await respond({"type": "http.response.body", "body": body})
