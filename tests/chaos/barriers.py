"""Carries a strike out: waits until exactly the right thing has happened, kills, and starts the dead one again."""

import asyncio
import contextlib
import re
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import or_, select
from temporalio.service import RPCError

from domain.sends import LedgerState
from store.tables import sends
from tests.chaos.fleet import Fleet, Member, Office
from tests.chaos.proxies import Cut, Exchange
from tests.chaos.script import Blow, Fault, Strike, Trouble, Where
from tests.chaos.wire import HttpMessage

PATIENCE = 20.0
"""Seconds that a strike waits for its barrier; then it strikes at whatever moment this is, and says so."""
SEEN_WITHIN = 8.0
"""Seconds for what must follow at once: the row in the ledger, the report to Temporal."""

_SENDS: Final = {"recrubo": "/flow-runs", "meta": "/messages", "truora": "/outbounds/send"}
_PREFIXES: Final = {"/recrubo/": "recrubo", "/meta/": "meta", "/truora/": "truora"}
_REFERENCE = re.compile(rb"att_[a-z2-7]{26}")
_WORD = re.compile(rb'"([^"\\\s]{6,200})"')
_SIGNAL = b"provider-events"


@dataclass(frozen=True)
class Kill:
    """One kill that was made. ``at_barrier`` is False when the barrier never came."""

    blow: Blow
    victim: str
    at_barrier: bool
    why_not: str = ""


@dataclass
class _Armed:
    """A strike that waits for its barrier."""

    strike: Strike
    struck: "asyncio.Future[Member]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    begun: bool = False
    """Somebody is at the barrier: nobody else triggers it."""


def side_of(exchange: Exchange) -> str:
    """Which provider a request is for; empty for the recruiter's system."""
    return next((side for prefix, side in _PREFIXES.items() if exchange.path.startswith(prefix)), "")


def is_send(exchange: Exchange) -> bool:
    """Whether the request can make a message appear on a phone."""
    side = side_of(exchange)
    return exchange.method == "POST" and bool(side) and exchange.path.endswith(_SENDS[side])


class Weather:
    """Faults of the network that wait for a request to befall."""

    def __init__(self) -> None:
        self._waiting: dict[Where, deque[Trouble]] = {where: deque() for where in Where}
        self.struck: Counter[str] = Counter()

    def add(self, trouble: Trouble) -> None:
        """Let it happen to the next request there."""
        self._waiting[trouble.where].append(trouble)

    def take(self, where: Where, kinds: tuple[Fault, ...]) -> Trouble | None:
        """The next one of these kinds, counted."""
        waiting = self._waiting[where]
        for trouble in waiting:
            if trouble.fault in kinds:
                waiting.remove(trouble)
                self.struck[f"{where.value}: {trouble.fault.value}"] += 1
                return trouble
        return None

    async def before(self, where: Where) -> None:
        """What befalls a request."""
        await _befall(self.take(where, (Fault.CUT_REQUEST, Fault.DELAY_REQUEST)))

    async def after(self, where: Where) -> None:
        """What befalls an answer."""
        await _befall(self.take(where, (Fault.CUT_ANSWER, Fault.DELAY_ANSWER)))


async def _befall(trouble: Trouble | None) -> None:
    if trouble is None:
        return
    if trouble.fault in (Fault.CUT_REQUEST, Fault.CUT_ANSWER):
        raise Cut
    await asyncio.sleep(trouble.seconds)


class ProviderGuard:
    """At the proxy between workers and providers: the barriers of the workers' deaths."""

    def __init__(self, weather: Weather) -> None:
        self._weather = weather
        self.armed: _Armed | None = None
        self.reach: Callable[[_Armed, Exchange, HttpMessage | None], Awaitable[None]] | None = None

    async def before(self, exchange: Exchange) -> None:
        """The request is about to leave."""
        armed = self._barrier(exchange)
        if armed is not None and armed.strike.blow is Blow.BEFORE_REQUEST and not armed.begun:
            await self._reach(armed, exchange, None)
        if is_send(exchange) and armed is None:
            await self._weather.before(Where.PROVIDER)

    async def after(self, exchange: Exchange, answer: HttpMessage) -> None:
        """The provider has answered."""
        armed = self._barrier(exchange)
        if armed is not None and not armed.begun and armed.strike.blow is not Blow.BEFORE_REQUEST and _is_good(answer):
            await self._reach(armed, exchange, answer)
        elif is_send(exchange):
            await self._weather.after(Where.PROVIDER)

    def _barrier(self, exchange: Exchange) -> _Armed | None:
        armed = self.armed
        wanted = armed is not None and armed.strike.side in ("", side_of(exchange)) and is_send(exchange)
        return armed if wanted else None

    async def _reach(self, armed: _Armed, exchange: Exchange, answer: HttpMessage | None) -> None:
        armed.begun = True
        assert self.reach is not None
        await self.reach(armed, exchange, answer)


class WebhookGuard:
    """At the proxy between providers and gateways: two of the barriers of the gateways' deaths."""

    def __init__(self, weather: Weather) -> None:
        self._weather = weather
        self.armed: _Armed | None = None
        self.reach: Callable[[_Armed, Exchange], Awaitable[None]] | None = None

    async def before(self, exchange: Exchange) -> None:
        """The webhook is about to arrive."""
        await self._at(Blow.BEFORE_STORE, exchange)
        await self._weather.before(Where.WEBHOOK)

    async def after(self, exchange: Exchange, answer: HttpMessage) -> None:
        """The gateway has answered, so it has committed; the provider does not know yet."""
        if _is_good(answer):
            await self._at(Blow.BEFORE_ANSWER, exchange)
        await self._weather.after(Where.WEBHOOK)

    async def _at(self, blow: Blow, exchange: Exchange) -> None:
        armed = self.armed
        if armed is not None and not armed.begun and armed.strike.blow is blow and self.reach is not None:
            armed.begun = True
            await self.reach(armed, exchange)


def _is_good(answer: HttpMessage) -> bool:
    return answer.words[1].startswith("2")


class Striker:
    """Kills by the script and starts again."""

    def __init__(self, fleet: Fleet, office: Office, providers: ProviderGuard, webhooks: WebhookGuard) -> None:
        self._fleet, self._office, self._providers, self._webhooks = fleet, office, providers, webhooks
        providers.reach, webhooks.reach = self._at_send, self._at_webhook
        self._tasks: set[asyncio.Task[None]] = set()
        self.kills: list[Kill] = []

    async def strike(self, strike: Strike) -> None:
        """Carry one strike out; returns when what died is up again."""
        if strike.blow is Blow.TEMPORAL:
            await self._fleet.restart_temporal()
            self.kills.append(Kill(strike.blow, "temporal", at_barrier=True))
            return
        armed = _Armed(strike)
        guard: ProviderGuard | WebhookGuard = self._providers if strike.blow.hits_worker else self._webhooks
        guard.armed = armed
        if strike.blow is Blow.BEFORE_MARK:
            self._watch_signals(armed)
        await asyncio.wait((armed.struck,), timeout=PATIENCE)
        if not armed.struck.done() and not armed.begun:
            armed.begun = True
            await self._kill(0, armed, why_not="nothing came")
        victim = await armed.struck
        guard.armed = None
        await victim.revive()

    async def _kill(self, member: int, armed: _Armed, *, why_not: str = "") -> None:
        """Kill the process that stands at the barrier; what its connections hold never arrives."""
        fleet, blow = self._fleet, armed.strike.blow
        members, engines = (
            (fleet.workers, fleet.worker_engines) if blow.hits_worker else (fleet.gateways, fleet.gateway_engines)
        )
        await members[member].kill()
        for engine in engines:
            engine.watch = None
        await engines[member].cut_and_release()
        self.kills.append(Kill(blow, members[member].name, not why_not, why_not))
        armed.struck.set_result(members[member])

    # -- workers

    async def _at_send(self, armed: _Armed, exchange: Exchange, answer: HttpMessage | None) -> None:
        blow = armed.strike.blow
        if answer is None or blow is Blow.AFTER_ACCEPTED:
            await self._kill(exchange.member, armed)
            raise Cut
        engine = self._fleet.worker_engines[exchange.member]
        if blow is Blow.BEFORE_REPORT:
            engine.hold_requests()  # before the answer is handed back, so the report cannot slip through
        self._later(self._after_answer(armed, exchange, answer))

    def _later(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _after_answer(self, armed: _Armed, exchange: Exchange, answer: HttpMessage) -> None:
        why_not = f"the answer was not recorded, {side_of(exchange)}"
        try:
            workflow_id = await self._until_recorded(exchange.request, answer)
            if workflow_id:
                why_not = ""
                if armed.strike.blow is Blow.BETWEEN_ACTIVITIES and not await self._until_reported(workflow_id):
                    why_not = "it never reported"
        finally:  # a strike that was begun is carried out
            await self._kill(exchange.member, armed, why_not=why_not)

    async def _until_recorded(self, request: HttpMessage, answer: HttpMessage) -> str:
        """Wait until the ledger has the answer of this send; the engagement's workflow id, or empty in vain.

        The row is known by our reference in the request, or where the provider takes none by an id in its answer.
        """
        ours = [found.decode() for found in _REFERENCE.findall(request.body)]
        theirs = [found.decode("latin-1") for found in _WORD.findall(answer.body)]
        is_it = or_(sends.c.reference.in_(ours), sends.c.run_id.in_(theirs), sends.c.session_id.in_(theirs))
        wanted = select(sends.c.workflow_id).where(is_it, sends.c.state == LedgerState.SENT.value)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SEEN_WITHIN):
                while True:
                    found = await self._office.stores.database.read(lambda c: c.execute(wanted).scalars().first())
                    if found is not None:
                        return str(found)
                    await asyncio.sleep(0.005)
        return ""

    async def _until_reported(self, workflow_id: str) -> bool:
        """Wait until Temporal knows of no activity of this engagement that is under way."""
        handle = self._office.client.get_workflow_handle(workflow_id)
        with contextlib.suppress(TimeoutError, RPCError):
            async with asyncio.timeout(SEEN_WITHIN):
                while True:
                    if not (await handle.describe()).raw_description.pending_activities:
                        return True
                    await asyncio.sleep(0.005)
        return False

    # -- gateways

    async def _at_webhook(self, armed: _Armed, exchange: Exchange) -> None:
        await self._kill(exchange.member, armed)
        raise Cut

    def _watch_signals(self, armed: _Armed) -> None:
        for n, engine in enumerate(self._fleet.gateway_engines):
            engine.answered.clear()

            def is_signal(message: bytes, n: int = n) -> bool:
                if _SIGNAL not in message or armed.begun:
                    return False
                armed.begun = True
                self._later(self._after_signal(armed, n))
                return True

            engine.watch = is_signal

    async def _after_signal(self, armed: _Armed, member: int) -> None:
        why_not = "Temporal did not answer the signal"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SEEN_WITHIN):
                await self._fleet.gateway_engines[member].answered.wait()
                why_not = ""
        await self._kill(member, armed, why_not=why_not)
