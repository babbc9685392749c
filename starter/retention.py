"""Drops what is past its time, kind by kind, and erases people of whom nothing was heard for long.

May be stopped anywhere and run again: each page is done or not, and an erasure that broke off is ended by the next run.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial

import structlog

from domain.errors import EngineUnavailable
from domain.following import spoken
from domain.model import Model
from domain.retention import KeptKind, RetentionTerms
from starter.engine import Engine
from store.clock import bookkeeping_now
from store.erasure import Erasures
from store.quiet_people import QuietPeople, QuietPerson
from store.retention import Retention

ACTOR = "retention"
"""Who asked for the erasure of a person whose time was over."""
PAGE = 100
"""People whose engagements are looked for in Temporal at once."""
NO_PEOPLE = "people were left alone, because nobody can say whether something of theirs still runs: "
_OF_THE_STORE = tuple(kind for kind in KeptKind if kind is not KeptKind.PEOPLE)

Told = Callable[[KeptKind, int], None]
"""Hears after each page what went."""
Page = Callable[[str, int], Awaitable[Sequence[QuietPerson]]]

log = structlog.get_logger()


class RetentionReport(Model):
    """What went, by kind, or would go."""

    dry_run: bool
    terms: RetentionTerms
    counts: dict[KeptKind, int]
    still_running: tuple[str, ...] = ()
    """Workflow ids of engagements that ended long ago and that Temporal still runs: their people stay."""
    traces_cleared: bool = True
    """False when others held it up that old bytes are overwritten: the next run does it."""
    note: str = ""
    """What could not be done, and why."""

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to repeat before its time."""
        return self.traces_cleared and not self.note


class RetentionService:
    """Every method may raise ``StoreUnavailable``."""

    def __init__(
        self,
        retention: Retention,
        people: QuietPeople,
        erasures: Erasures,
        engine: Engine,
        *,
        clock: Callable[[], datetime] = bookkeeping_now,
    ) -> None:
        self._retention, self._people, self._erasures, self._engine = retention, people, erasures, engine
        self._clock = clock

    @property
    def terms(self) -> RetentionTerms:
        """How long what is kept."""
        return self._retention.terms

    async def look(self) -> RetentionReport:
        """What would go; Temporal is not asked."""
        counts = dict.fromkeys(KeptKind, await self._people.count(self._clock() - self.terms.contacts))
        for kind in _OF_THE_STORE:
            counts[kind] = await self._retention.count(kind)
        return RetentionReport(dry_run=True, terms=self.terms, counts=counts)

    async def run(self, tell: Told = lambda _kind, _count: None) -> RetentionReport:
        """Drop it. Without Temporal people are left alone, and the report says so."""
        counts = dict.fromkeys(KeptKind, 0)

        def went(kind: KeptKind, count: int) -> None:
            counts[kind] += count
            tell(kind, count)

        for kind in _OF_THE_STORE:
            while some := await self._retention.page(kind):
                went(kind, some)
        lost: list[str] = []
        running: list[str] = []
        note = ""
        try:
            await self._erase_people(went, lost, running)
        except EngineUnavailable as error:
            note = f"{NO_PEOPLE}{error}"
        cleared = await self._erasures.clear_many(lost) if lost or any(counts.values()) else True
        log.info("retention_ran", traces_cleared=cleared, **{kind.name.lower(): many for kind, many in counts.items()})
        return RetentionReport(
            dry_run=False,
            terms=self.terms,
            counts=counts,
            still_running=tuple(running),
            traces_cleared=cleared,
            note=note,
        )

    async def _erase_people(self, tell: Told, lost: list[str], running: list[str]) -> None:
        """First those whose erasure broke off, then those of whom nothing was heard."""
        before = self._clock() - self.terms.contacts
        await self._each(self._people.broken_off, None, tell, lost, running)
        await self._each(partial(self._people.page, before), before, tell, lost, running)

    async def _each(
        self, pages: Page, before: datetime | None, tell: Told, lost: list[str], running: list[str]
    ) -> None:
        after = ""
        while page := await pages(after, PAGE):
            after = page[-1].contact_id
            still = await self._running([one for person in page for one in person.workflow_ids])
            running += sorted(still)
            for person in page:
                if not still.intersection(person.workflow_ids) and await self._may_go(person, before):
                    counts = await self._erasures.erase(person.contact_id, self._clock())
                    lost.append(person.contact_id)
                    tell(KeptKind.PEOPLE, int(any(counts.values())))

    async def _may_go(self, person: QuietPerson, before: datetime | None) -> bool:
        """Marked before, or marked now because nothing was heard to this moment."""
        if before is None:
            return True
        reason = f"nothing was heard for {spoken(self.terms.contacts)}"
        return await self._people.mark(person.contact_id, before, ACTOR, reason, self._clock())

    async def _running(self, workflow_ids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(workflow_ids), PAGE):
            found |= (await self._engine.live(workflow_ids[start : start + PAGE])).keys()
        return found
