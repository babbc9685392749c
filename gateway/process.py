"""The gateway process: two listeners in one event loop, and the background work beside them.

The order of stopping: no new connections, requests in hand are answered, what was taken is committed, batches in hand
are finished. What is not done by then lies in the store, and the next gateway goes on with it.
"""

import asyncio
import contextlib
import secrets
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
import uvicorn
from prometheus_client import CollectorRegistry
from temporalio.client import Client

from domain.errors import SetupError
from domain.retention import RetentionTerms
from gateway.ats import DOOR as ATS_DOOR
from gateway.ats import AtsParts, AtsWork
from gateway.group_commit import GroupCommit
from gateway.metrics import GatewayMetrics
from gateway.pipeline import InboxParts, Pipeline
from gateway.reading import Receiving
from gateway.relay import Signaller, TemporalSignaller
from gateway.status import Application, StatusApp, TemporalWatch
from gateway.webhooks import Door, WebhookApp
from store.clock import bookkeeping_now
from store.correlations import Correlations
from store.inbox import LINGER, Inbox
from store.inbox_relay import Outbound
from store.inbox_review import InboxReview
from store.retention import Retention
from store.stores import Stores

log = structlog.get_logger()

GRACE = 10
"""Seconds that requests in hand may take after the gateway was told to stop."""
BACKLOG = 1024


@dataclass(frozen=True)
class Ports:
    """Where the two listeners are; port 0 lets the system choose."""

    webhook_host: str = "127.0.0.1"
    webhook_port: int = 0
    rest_host: str = "127.0.0.1"
    rest_port: int = 0


@dataclass(frozen=True)
class GatewayParts:
    """Everything that a gateway is made of. ``temporal`` may be lazy; ``signaller`` replaces it in tests."""

    stores: Stores
    accounts: Sequence[Receiving]
    rest: Application
    temporal: Client | None = None
    signaller: Signaller | None = None
    ports: Ports = Ports()
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    ats: AtsParts | None = None
    """Tenants' own systems; without, nobody hears of them."""
    clock: Callable[[], datetime] = bookkeeping_now
    retention: RetentionTerms = field(default_factory=RetentionTerms)
    """What goes with age every hour; the rest waits for ``rapport retention run``."""
    linger: timedelta = LINGER
    """How long mere progress of a message may wait to share a signal; an answer never waits."""


class Gateway:
    """One gateway. ``started`` resolves to the ports that it listens on, once both listeners accept."""

    def __init__(self, parts: GatewayParts) -> None:
        self._parts = parts
        self.started: asyncio.Future[Ports] = asyncio.get_running_loop().create_future()
        metrics = GatewayMetrics(parts.registry)
        watch = TemporalWatch(parts.temporal)
        receiving = {one.account: one for one in parts.accounts}
        inbox = _inbox_parts(parts)
        self._pipeline = Pipeline(
            inbox,
            receiving,
            _signaller(parts),
            watch,
            metrics=metrics,
            clock=parts.clock,
            is_rush=lambda: self._commits.is_rush(),  # noqa: PLW0108 - they are made next, of the pipeline's parts
        )
        self._commits = GroupCommit(self._pipeline.keeper, self._pipeline.deliveries_kept)
        doors = {(one.provider, one.account): Door(one.provider, one.account, one.reader) for one in parts.accounts}
        self._ats = _ats_work(parts, metrics)
        if parts.ats is not None and self._ats is not None:
            keeper = self._ats.keeper
            doors |= {(ATS_DOOR, one): Door(ATS_DOOR, one, its, keeper) for one, its in parts.ats.readers.items()}
        self._webhooks = WebhookApp(doors, self._commits, metrics, parts.clock)
        self._status = StatusApp(parts.rest, parts.stores.database.ready, watch, parts.registry)
        self._servers: tuple[_Listener, ...] = ()
        self._stop_asked = asyncio.Event()

    def stop(self) -> None:
        """Stop gracefully; calling it again changes nothing."""
        self._status.stopping = True
        self._stop_asked.set()

    async def run(self) -> Ports:
        """Serve until ``stop``; returns the ports that it served on. Raises ``SetupError`` when a port is taken."""
        ports = self._parts.ports
        with contextlib.ExitStack() as opened:
            opened.callback(self._never_started)
            webhook_socket = opened.enter_context(_bound(ports.webhook_host, ports.webhook_port))
            rest_socket = opened.enter_context(_bound(ports.rest_host, ports.rest_port))
            chosen = Ports(
                ports.webhook_host, webhook_socket.getsockname()[1], ports.rest_host, rest_socket.getsockname()[1]
            )
            webhooks, rest = _Listener(self._webhooks, "off"), _Listener(self._status, "auto")
            self._servers = (webhooks, rest)
            serving = (
                asyncio.create_task(webhooks.serve([webhook_socket]), name="webhook-listener"),
                asyncio.create_task(rest.serve([rest_socket]), name="rest-listener"),
            )
            working = asyncio.create_task(self._work(), name="pipeline")
            try:
                await self._until_stopped((*serving, working), chosen)
            finally:
                await self._wind_down(serving, working)
        return chosen

    async def _work(self) -> None:
        await asyncio.gather(self._pipeline.run(), *([self._ats.loop.run()] if self._ats is not None else []))

    async def _until_stopped(self, tasks: tuple[asyncio.Task[None], ...], chosen: Ports) -> None:
        """Wait for the word to stop, or for anything that should run to end by itself."""
        up = asyncio.create_task(self._both_up(), name="both-up")
        asked = asyncio.create_task(self._asked_to_stop(), name="stop-asked")
        try:
            await asyncio.wait((up, asked, *tasks), return_when=asyncio.FIRST_COMPLETED)
            if up.done() and not self.started.done():
                log.info("gateway_ready", webhook_port=chosen.webhook_port, rest_port=chosen.rest_port)
                self.started.set_result(chosen)
            await asyncio.wait((asked, *tasks), return_when=asyncio.FIRST_COMPLETED)
        finally:
            up.cancel()
            asked.cancel()
            await asyncio.gather(up, asked, return_exceptions=True)

    def _never_started(self) -> None:
        if not self.started.done():
            self.started.cancel()

    async def _both_up(self) -> None:
        for server in self._servers:
            await server.is_up.wait()

    async def _asked_to_stop(self) -> None:
        await self._stop_asked.wait()

    async def _wind_down(self, serving: tuple[asyncio.Task[None], ...], working: asyncio.Task[None]) -> None:
        log.info("gateway_stopping")
        for server in self._servers:
            server.should_exit = True
        endings = await asyncio.gather(*serving, return_exceptions=True)
        await self._commits.drain()
        self._pipeline.stop()
        if self._ats is not None:
            self._ats.loop.stop()
        endings += await asyncio.gather(working, return_exceptions=True)
        for ending in endings:
            if isinstance(ending, BaseException):
                raise ending
        log.info("gateway_stopped")


async def run_gateway(parts: GatewayParts, on_started: Callable[[Ports], None] | None = None) -> None:
    """Run a gateway until SIGTERM or SIGINT; ``on_started`` hears the ports once both listeners accept.

    Raises ``SetupError`` when a port is taken.
    """
    gateway = Gateway(parts)
    if on_started is not None:
        gateway.started.add_done_callback(lambda done: None if done.cancelled() else on_started(done.result()))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, gateway.stop)
    try:
        await gateway.run()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


class _Listener(uvicorn.Server):
    """A uvicorn server that tells when it is up and leaves signals to the process."""

    def __init__(self, app: Application, lifespan: "uvicorn.config.LifespanType") -> None:
        super().__init__(
            uvicorn.Config(
                app,
                lifespan=lifespan,
                log_config=None,
                access_log=False,  # paths and query strings are not ours to log
                server_header=False,
                proxy_headers=False,
                ws="none",
                backlog=BACKLOG,
                timeout_graceful_shutdown=GRACE,
            )
        )
        self.is_up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, and tell."""
        await super().startup(sockets)
        self.is_up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Two servers share this process, so neither may take its signals."""
        yield


def _inbox_parts(parts: GatewayParts) -> InboxParts:
    database, keys, owner = parts.stores.database, parts.stores.keys, secrets.token_hex(8)
    return InboxParts(
        inbox=Inbox(database, keys, owner=owner, linger=parts.linger, clock=parts.clock),
        outbound=Outbound(database, keys, owner=owner, clock=parts.clock),
        review=InboxReview(database, keys, clock=parts.clock),
        correlations=Correlations(database),
        retention=Retention(database, keys, parts.retention, clock=parts.clock),
        keys=keys,
        data_keys=parts.stores.data_keys,
    )


def _ats_work(parts: GatewayParts, metrics: GatewayMetrics) -> AtsWork | None:
    if parts.ats is None:
        return None
    return AtsWork(parts.ats, parts.stores.told, metrics=metrics, clock=parts.clock)


def _signaller(parts: GatewayParts) -> Signaller:
    if parts.signaller is not None:
        return parts.signaller
    if parts.temporal is None:
        raise SetupError("a gateway needs a Temporal client: none was given")
    return TemporalSignaller(parts.temporal)


@contextlib.contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """A socket on this address. Raises ``SetupError`` when it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol named, asyncio turns Nagle's algorithm off; without, an answer on a connection that stays open
    # waits 40 ms for an acknowledgement.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise SetupError(f"cannot listen on {host}:{port} ({error.strerror}): is it in use already?") from None
        listener.setblocking(False)
        yield listener
