"""Delivery of webhooks: attempts by the sandbox's clock, and the faults that may befall them."""

import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

import httpx
import structlog

from sandbox.clock import Clock
from sandbox.faults import ON_WEBHOOKS, FaultKind, FaultOptions, Faults, Occasion
from sandbox.personas import Personas
from sandbox.values import Frozen, Instant

log = structlog.get_logger()


@cache
def _trust() -> ssl.SSLContext:
    """Whom to believe at https receivers; read once per process."""
    return ssl.create_default_context()


@dataclass(frozen=True)
class Parcel:
    """The bytes and headers of one attempt, and the id that the delivery carries."""

    id: str
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Event:
    """One thing that a provider tells its customer. The content is fixed when it happens, however late it is told."""

    provider: str
    account: str
    name: str
    """``flowRuns:running``; faults name it with ``webhook:`` before it."""
    about: str
    """The resource's id."""
    lane: str
    """The conversation: events of one lane are told in order."""
    url: str | None
    pack: Callable[[int], Parcel]
    """The parcel of the n-th copy or attempt, from 0."""
    retry_delays: tuple[float, ...]
    retries_keep_id: bool
    number: str | None = None
    thread: str | None = None
    acknowledged: Callable[[int], bool] = field(default=lambda status: 200 <= status < 300)


class Attempt(Frozen):
    """One attempt to deliver, as the control API shows it."""

    provider: str
    account: str
    event: str
    about: str
    id: str
    attempt: int
    """1 for the first."""
    status: int | None
    """None when no answer came."""
    problem: str | None
    at: Instant


class AttemptList(Frozen):
    """Attempts in the order in which they ended."""

    count: int
    attempts: tuple[Attempt, ...]


class Webhooks:
    """Carries events to their receivers."""

    def __init__(self, clock: Clock, faults: Faults, personas: Personas, timeout: float) -> None:
        self._clock = clock
        self._faults = faults
        self._personas = personas
        self._timeout = timeout
        self._client: httpx.AsyncClient | None = None
        self._attempts: list[Attempt] = []
        self._held: dict[str, list[tuple[Event, str]]] = {}
        self._copies: dict[str, int] = {}

    async def start(self) -> None:
        """Open the connections."""
        # No proxy from the environment: receivers are where the settings say. Waiting for a free connection is no
        # failure of the receiver's, so the pool has no time limit.
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=20)
        timeout = httpx.Timeout(self._timeout, pool=None)
        self._client = httpx.AsyncClient(limits=limits, timeout=timeout, trust_env=False, verify=_trust())

    async def stop(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    def attempts(self, event: str = "", about: str | None = None) -> AttemptList:
        """What was attempted; ``event`` is the beginning of a name."""
        found = tuple(a for a in self._attempts if a.event.startswith(event) and about in (None, a.about))
        return AttemptList(count=len(found), attempts=found)

    def clear(self) -> None:
        """Forget attempts, and what is held back."""
        self._attempts.clear()
        self._held.clear()
        self._copies.clear()

    def comes_before_answer(self, occasions: Iterable[Occasion]) -> bool:
        """Whether a fault wants one of these deliveries made before the request is answered."""
        wanted = frozenset({FaultKind.BEFORE_ANSWER})
        return any(self._faults.take(occasion, wanted) is not None for occasion in occasions)

    async def tell(self, events: Iterable[Event]) -> None:
        """Deliver in order, with the faults that strike. Returns when every first attempt was answered or failed."""
        for event in events:
            await self._tell(event)

    async def _tell(self, event: Event) -> None:
        persona = self._personas.at(event.number).persona if event.number else None
        occasion = Occasion(event.provider, f"webhook:{event.name}", event.account, event.number, event.thread, persona)
        fault = self._faults.take(occasion, ON_WEBHOOKS)
        options = fault.options if fault is not None else FaultOptions()
        match fault.kind if fault is not None else None:
            case FaultKind.DROP:
                self._note(event, Parcel("", b"", {}), 1, None, "dropped by a fault")
            case FaultKind.LATE:
                self._clock.schedule(options.seconds, lambda: self._deliver(event), lane=event.lane)
            case FaultKind.REORDER:
                self._hold(event, options)
            case FaultKind.DUPLICATE:
                await self._duplicate(event, options)
            case _:
                await self._deliver(event)

    async def _duplicate(self, event: Event, options: FaultOptions) -> None:
        parcel = self._pack(event)
        await self._attempt(event, parcel, 1)
        for _ in range(options.copies):
            await self._attempt(event, self._pack(event) if options.new_id else parcel, 1)
        await self._release(event)

    def _hold(self, event: Event, options: FaultOptions) -> None:
        held = (event, options.until)
        self._held.setdefault(event.lane, []).append(held)

        async def give_up() -> None:
            if held in self._held.get(event.lane, []):
                self._held[event.lane].remove(held)
                await self._deliver(event)

        self._clock.schedule(options.at_latest, give_up, lane=event.lane)

    async def _deliver(self, event: Event) -> None:
        await self._attempt(event, self._pack(event), 1)
        await self._release(event)

    async def _release(self, told: Event) -> None:
        waiting = self._held.get(told.lane, [])
        overtaken = [held for held in waiting if told.name.startswith(held[1])]
        self._held[told.lane] = [held for held in waiting if held not in overtaken]
        for event, _ in overtaken:
            await self._deliver(event)

    def _pack(self, event: Event) -> Parcel:
        name = f"{event.about}:{event.name}"
        copy = self._copies.get(name, 0)
        self._copies[name] = copy + 1
        return event.pack(copy)

    async def _attempt(self, event: Event, parcel: Parcel, attempt: int) -> None:
        status, problem = await self._post(event, parcel)
        self._note(event, parcel, attempt, status, problem)
        if event.url is None or (status is not None and event.acknowledged(status)):
            return
        if attempt > len(event.retry_delays):
            return

        async def again() -> None:
            await self._attempt(event, parcel if event.retries_keep_id else self._pack(event), attempt + 1)

        self._clock.schedule(event.retry_delays[attempt - 1], again, lane=event.lane)

    async def ask(self, url: str, query: Mapping[str, str]) -> httpx.Response | None:
        """Ask a receiver something by GET, as a subscription handshake does; None when no answer came."""
        if self._client is None:
            return None
        try:
            return await self._client.get(url, params=dict(query))
        except (httpx.HTTPError, httpx.InvalidURL):
            return None

    async def _post(self, event: Event, parcel: Parcel) -> tuple[int | None, str | None]:
        if event.url is None:
            return None, "no receiver"
        if self._client is None:
            return None, "the sandbox is not running"
        try:
            response = await self._client.post(event.url, content=parcel.body, headers=dict(parcel.headers))
        except (httpx.HTTPError, httpx.InvalidURL) as failure:
            return None, type(failure).__name__
        return response.status_code, None

    def _note(self, event: Event, parcel: Parcel, attempt: int, status: int | None, problem: str | None) -> None:
        self._attempts.append(
            Attempt(
                provider=event.provider,
                account=event.account,
                event=event.name,
                about=event.about,
                id=parcel.id,
                attempt=attempt,
                status=status,
                problem=problem,
                at=self._clock.now(),
            )
        )
        log.info("sandbox_webhook", webhook=event.name, attempt=attempt, status=status, problem=problem)
