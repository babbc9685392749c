"""One chaos run: ``python -m tests.chaos.run --engagements 60 --kills 10 --seed 7``."""

import argparse
import asyncio
import logging
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from sqlalchemy import func, select

from domain.contacts import Candidate, Consent
from domain.engagements import EngagementRequest, Timing
from domain.errors import EngineUnavailable, StoreUnavailable
from domain.plans import Plan
from starter.views import EngagementView
from store.inbox_review import InboxCounts, InboxReview
from store.inbox_tables import EventState
from store.tables import engagements, sends
from tests.chaos.barriers import ProviderGuard, Striker, Weather, WebhookGuard
from tests.chaos.figures import Figures, figures_of
from tests.chaos.fleet import Fleet, Guards, Office, Shape
from tests.chaos.judge import Evidence, judge
from tests.chaos.operator import TENANT, Operator
from tests.chaos.phones import Phones
from tests.chaos.proxies import EngineProxy
from tests.chaos.script import Person, Persona, Script, Size, Strike, Trouble, Wave, Where, write_script
from tests.e2e.sides import SIDES
from tests.postgres import fresh_database, postgres_server

Progress = Callable[[str], None]

FOLLOW_UP_AFTER, SILENCE_AFTER = "30s", "45s"
"""Longer than any outage of the run: an answer that is on its way must arrive before silence is judged."""
TIMING = Timing(
    send_start_to_close=timedelta(seconds=6),
    send_budget=timedelta(minutes=10),
    lookup_start_to_close=timedelta(seconds=4),
    lookup_budget=timedelta(minutes=10),
    provider_pause=timedelta(seconds=3),
    reconcile_settle=timedelta(seconds=9),
    failure_settle=timedelta(seconds=20),
    ats_budget=timedelta(minutes=30),
)
"""Technical waits. Their order is that of the defaults: a request is over before its attempt, the attempt before the
last look at the provider."""
ENDS_WITHIN_S = 240.0
"""After the last kill; what is open then is stuck."""
DRAINED_WITHIN_S = 60.0
STARTS_AT_ONCE = 8
MOST_OPEN = 100
"""Engagements at a time: a machine that falls behind would judge silence before the answer that is on its way."""


class ChaosRun:
    """Carries a script out and judges it."""

    def __init__(self, script: Script, shape: Shape, directory: Path, progress: Progress) -> None:
        self._script, self._shape, self._progress = script, shape, progress
        self._weather = Weather()
        self._provider_guard, self._webhook_guard = ProviderGuard(self._weather), WebhookGuard(self._weather)
        self._fleet = Fleet(directory, shape, Guards(self._provider_guard, self._webhook_guard))
        self._people = {person.reference: person for person in script.people}
        self._begun = time.monotonic()
        self._engaged = 0

    async def run(self) -> Figures:
        """Start everything, break it, wait for every end, judge."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._fleet.stop)
            await self._fleet.start()
            office = await stack.enter_async_context(self._fleet.office())
            phones = await stack.enter_async_context(Phones(self._fleet.sandbox_url))
            striker = Striker(self._fleet, office, self._provider_guard, self._webhook_guard)
            operator = Operator(office, phones, self._people)
            working = [asyncio.create_task(operator.work()), asyncio.create_task(self._tell(office, striker))]
            try:
                await self._break_everything(office, phones, striker)
                await self._until_over(office, phones)
            finally:
                for task in working:
                    task.cancel()
                await asyncio.gather(*working, return_exceptions=True)
            evidence = await self._evidence(office, phones)
            return figures_of(
                self._script,
                self._shape,
                evidence,
                judge(evidence),
                kills=striker.kills,
                weather=self._weather.struck,
                operator=operator,
                refusals=await phones.refusals(),
                seconds=time.monotonic() - self._begun,
            )

    async def _break_everything(self, office: Office, phones: Phones, striker: Striker) -> None:
        others: asyncio.Queue[Strike | None] = asyncio.Queue()
        other_lane = asyncio.create_task(_strike_in_turn(striker, others))
        try:
            for wave in self._script.waves:
                for trouble in wave.troubles:
                    await self._befall(trouble)
                for strike in wave.others:
                    others.put_nowait(strike)
                await self._engage(wave, office, phones, striker)
        finally:
            others.put_nowait(None)
            await other_lane

    async def _engage(self, wave: Wave, office: Office, phones: Phones, striker: Striker) -> None:
        """The engagements of a wave begin while their worker is already in danger."""
        struck = asyncio.create_task(striker.strike(wave.worker)) if wave.worker is not None else None
        few = asyncio.Semaphore(STARTS_AT_ONCE)
        await asyncio.gather(*(self._begin(person, office, phones, few) for person in wave.people))
        if struck is not None:
            await struck

    async def _begin(self, person: Person, office: Office, phones: Phones, few: asyncio.Semaphore) -> None:
        async with few:
            await phones.seat(person)
            while await open_engagements(office) >= MOST_OPEN:  # noqa: ASYNC110 - only asking tells
                await asyncio.sleep(0.3)
            while True:
                try:
                    await office.service.start(request_for(person), datetime.now(UTC))
                except (EngineUnavailable, StoreUnavailable):  # Temporal is being restarted: ask again, as an ATS does
                    await asyncio.sleep(0.3)
                else:
                    break
            self._engaged += 1

    async def _befall(self, trouble: Trouble) -> None:
        engines: list[EngineProxy] = []
        if trouble.where is Where.WORKER_ENGINE:
            engines = self._fleet.worker_engines
        elif trouble.where is Where.GATEWAY_ENGINE:
            engines = self._fleet.gateway_engines
        else:
            self._weather.add(trouble)
        for engine in engines:
            await engine.cut()
            self._weather.struck[f"{trouble.where.value}: every connection cut"] += 1

    async def _until_over(self, office: Office, phones: Phones) -> None:
        """Until every engagement has an outcome, the inbox is empty and the ATS has heard; or the time is over."""

        async def over() -> bool:
            return await open_engagements(office) == 0

        async def drained() -> bool:
            return not any((await self._left(office)).values()) and len(await phones.told()) >= len(self._people)

        await _within(ENDS_WITHIN_S, over)
        await _within(DRAINED_WITHIN_S, drained)

    async def _counts(self, office: Office) -> InboxCounts:
        return await InboxReview(office.stores.database, self._fleet.key_ring()).counts()

    async def _left(self, office: Office) -> dict[str, int]:
        counts = await self._counts(office)
        return {"deliveries unread": counts.unread, "events pending": counts.events.get(EventState.PENDING, 0)}

    async def _evidence(self, office: Office, phones: Phones) -> Evidence:
        views: dict[str, EngagementView] = {}
        for reference in self._people:
            views[reference] = await office.service.get(TENANT, reference)
        named = select(sends.c.reference, sends.c.workflow_id)
        rows = await office.stores.database.read(lambda c: c.execute(named).all())
        return Evidence(
            people=self._script.people,
            views=views,
            messages=await phones.messages(),
            references={row.reference: row.workflow_id.rpartition(":")[2] for row in rows},
            told=await phones.told(),
            left_in_inbox=await self._left(office),
            unmatched=(await self._counts(office)).events.get(EventState.UNMATCHED, 0),
        )

    async def _tell(self, office: Office, striker: Striker) -> None:
        """A progress line every few seconds."""
        while True:
            passed = time.monotonic() - self._begun
            still_open = await open_engagements(office)
            begun = max(self._engaged, still_open)  # one that is being started has its row and has not come back yet
            self._progress(
                f"{passed:5.0f} s  engaged {begun}/{len(self._people)}  over {begun - still_open}"
                f"  kills {len(striker.kills)}/{len(self._script.strikes)}"
            )
            await asyncio.sleep(10)


async def _within(seconds: float, ask: Callable[[], Awaitable[bool]]) -> None:
    """Come back when the answer is yes, or the time is over: what is missing then is the judge's business."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if await ask():
            return
        await asyncio.sleep(0.5)


async def _strike_in_turn(striker: Striker, strikes: "asyncio.Queue[Strike | None]") -> None:
    while (strike := await strikes.get()) is not None:
        await striker.strike(strike)


async def open_engagements(office: Office) -> int:
    """How many have no outcome yet."""
    wanted = select(func.count()).select_from(engagements).where(engagements.c.outcome.is_(None))
    return await office.stores.database.read(lambda c: int(c.execute(wanted).scalar_one()))


def request_for(person: Person) -> EngagementRequest:
    """What the recruiter's system asks for."""
    side = SIDES[person.side]
    variables = {"language": "en", "variables": ("first_name",)}
    plan: Plan = side.plan(
        follow_ups=({"after": FOLLOW_UP_AFTER, "template": {**variables, **side.reminder}, "flow": side.flow},),
        silence={"after": SILENCE_AFTER},
        unexpected_text="hand-over" if person.persona is Persona.TEXTS else "keep-waiting",
    )
    consent = Consent(source="careers page", obtained_at=datetime(2026, 1, 1, tzinfo=UTC))
    candidate = Candidate(phone=person.phone, variables={"first_name": "Ada"}, consent=consent)
    return EngagementRequest(
        tenant=TENANT, reference=person.reference, line=side.line, candidate=candidate, plan=plan, timing=TIMING
    )


async def chaos(size: Size, shape: Shape, directory: Path, progress: Progress) -> Figures:
    """One run of this size and seed. What the processes wrote is left in ``directory``."""
    figures = await ChaosRun(write_script(size), shape, directory, progress).run()
    (directory / "figures.json").write_text(figures.json())
    return figures


@contextmanager
def _directory(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True)
        yield kept.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="rapport-chaos-") as made:
        yield Path(made)


def _asked() -> argparse.Namespace:
    words = argparse.ArgumentParser(prog="python -m tests.chaos.run", description=__doc__)
    words.add_argument("--engagements", type=int, default=200)
    words.add_argument("--kills", type=int, default=30)
    words.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    words.add_argument("--workers", type=int, default=2)
    words.add_argument("--gateways", type=int, default=1)
    words.add_argument("--postgres", action="store_true", help="keep the store in a PostgreSQL of its own")
    words.add_argument("--keep", type=Path, default=None, help="keep logs and databases in this new directory")
    words.add_argument("--json", type=Path, default=None, help="write the figures to this file too")
    return words.parse_args()


def main() -> int:
    """Run by the command line; 0 when every promise was kept."""
    given = _asked()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    size = Size(given.engagements, given.kills, given.seed)
    _say(f"seed {size.seed}")
    with ExitStack() as stack:
        directory = stack.enter_context(_directory(given.keep))
        url = None
        if given.postgres:
            url = stack.enter_context(fresh_database(stack.enter_context(postgres_server())))
        figures = asyncio.run(chaos(size, Shape(given.workers, given.gateways, url), directory, _say))
    sys.stdout.write(figures.table())
    if given.json is not None:
        given.json.write_text(figures.json())
    return 0 if figures.is_clean else 1


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
