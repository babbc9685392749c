"""Erase a person: nothing new begins, what is open ends as by ``stop``, then the store loses them.

Every step may be repeated, so an erasure that broke off, or waits for an engagement that does not end, is asked for
again with the same words.
"""

import asyncio
import re
from datetime import timedelta

import structlog

from domain import names
from domain.calls import Command
from domain.contacts import phone_alias
from domain.errors import BadInput, EngineUnavailable, Mistake, NotAllowed, NotFound
from domain.model import Instant, Model
from starter.engine import Engine
from starter.phones import read_phone
from store.clock import bookkeeping_now
from store.contacts import Contacts
from store.erasure import Erasures, PersonsEngagement
from store.registry import EngagementRegistry

WAIT = timedelta(seconds=30)
"""How long open engagements may take to end, and their tenant's system to hear of it, before the caller is told."""
_LOOK_AGAIN = timedelta(milliseconds=250)
_CONTACT_ID = re.compile(r"ct_[0-9a-f]{32}")

log = structlog.get_logger()


class StillOpen(Model):
    """An engagement that must end first, and why it has not."""

    workflow_id: str
    reason: str


class Erasure(Model):
    """How far erasing a person has come. Wholly erased is who has ``erased_at`` and whose traces are cleared.

    While engagements are still open nothing is destroyed, but nothing begins and nothing is sent either. Beside
    ``erased_at`` they are those that may still run in Temporal, where nobody can carry them on.
    """

    contact_id: str
    asked_at: Instant
    erased_at: Instant | None = None
    traces_cleared: bool = False
    engagements: tuple[str, ...] = ()
    """Workflow ids of all that the person ever had."""
    still_open: tuple[StillOpen, ...] = ()
    counts: dict[str, int] = {}
    """Rows that this call changed, by kind."""

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to repeat."""
        return self.erased_at is not None and self.traces_cleared and not self.still_open


class ErasureService:
    """Erases people. Methods raise ``StoreUnavailable``; Temporal being away is told as an engagement still open."""

    def __init__(self, erasures: Erasures, contacts: Contacts, registry: EngagementRegistry, engine: Engine) -> None:
        self._erasures, self._contacts, self._registry, self._engine = erasures, contacts, registry, engine

    async def find(self, who: str, tenant: str) -> str:
        """The contact id of a person named by it or by the reference of one of the tenant's engagements.

        Raises ``NotFound``, which never repeats what was given: it might be a number.
        """
        if _CONTACT_ID.fullmatch(who):
            if await self._erasures.record(who) is None and not await self._erasures.tenants_of(who):
                await self._contacts.record(who)
            return who
        row = await self._registry.get(tenant, who)
        if row is None:
            raise NotFound(f"tenant {tenant} has no engagement of that reference; a number is asked for with --phone")
        return row.contact_id

    async def find_by_phone(self, text: str, region: str | None = None) -> str:
        """The contact id behind a phone number. Raises ``NotFound``, and ``BadInput`` for what is no number."""
        try:
            number = read_phone(text, region)
        except ValueError as error:
            raise BadInput([Mistake(str(error), field="--phone")]) from None
        found = await self._contacts.find([phone_alias(number)])
        if found is None:
            raise NotFound("nobody with this number is known here: never engaged, or erased already")
        return found

    async def owned(self, contact_id: str, tenant: str) -> bool:
        """Whether this tenant has, or had, something of the person."""
        return tenant in await self._erasures.tenants_of(contact_id)

    async def of_others(self, contact_id: str, tenant: str) -> bool:
        """Whether tenants other than this one have something of the person."""
        return bool(await self._erasures.tenants_of(contact_id) - {tenant})

    async def erase(self, contact_id: str, command: Command, *, wait: timedelta = WAIT) -> Erasure:
        """Erase a person, of every tenant. Raises ``NotFound`` for an id that never was a person's."""
        record = await self._erasures.mark(contact_id, command.actor, command.reason, bookkeeping_now())
        rows = await self._erasures.engagements_of(contact_id)
        answer = Erasure(
            contact_id=contact_id, asked_at=record.asked_at, engagements=tuple(row.workflow_id for row in rows)
        )
        # once they are lost nothing ends by a command any more: what runs yet is broken off
        still_open = () if record.erased_at is not None else await self._ended(rows, command, wait)
        if still_open:
            log.warning("erasure_waits", contact_id=contact_id, still_open=len(still_open))
            return answer.model_copy(update={"still_open": still_open, "erased_at": record.erased_at})
        counts = await self._erasures.erase(contact_id, bookkeeping_now())
        loose = await self._broken_off(rows)
        cleared = await self._erasures.clear(contact_id)
        log.info("person_erased", contact_id=contact_id, traces_cleared=cleared)
        done = await self._erasures.record(contact_id)
        erased_at = None if done is None else done.erased_at
        told: dict[str, object] = {"erased_at": erased_at, "counts": counts, "traces_cleared": cleared}
        return answer.model_copy(update=told | {"still_open": loose})

    async def _ended(
        self, rows: tuple[PersonsEngagement, ...], command: Command, wait: timedelta
    ) -> tuple[StillOpen, ...]:
        """End what is open; what has not ended in time, with the reason."""
        if not rows:
            return ()
        trouble = dict(await asyncio.gather(*(self._stop(row, command) for row in rows)))
        deadline = asyncio.get_running_loop().time() + wait.total_seconds()
        while True:
            looks = await asyncio.gather(*(self._look(row, trouble[row.workflow_id]) for row in rows))
            still_open = tuple(look for look in looks if look is not None)
            if not still_open or asyncio.get_running_loop().time() >= deadline:
                return still_open
            await asyncio.sleep(_LOOK_AGAIN.total_seconds())

    async def _broken_off(self, rows: tuple[PersonsEngagement, ...]) -> tuple[StillOpen, ...]:
        """End what a start that was in hand brought to Temporal after we had looked: nobody can carry it on.

        A start that comes later still finds that out by itself. What Temporal does not answer now is given back: it
        is seen to when the erasure is repeated.
        """
        left = await asyncio.gather(*(self._break_off(row) for row in rows))
        return tuple(one for one in left if one is not None)

    async def _break_off(self, row: PersonsEngagement) -> StillOpen | None:
        try:
            if await self._engine.is_open(row.workflow_id):
                await self._engine.break_off(row.workflow_id)
        except EngineUnavailable as error:
            log.warning("erased_run_not_looked_for", workflow_id=row.workflow_id, error=str(error))
            return StillOpen(workflow_id=row.workflow_id, reason=str(error))
        return None

    async def _stop(self, row: PersonsEngagement, command: Command) -> tuple[str, str]:
        """Why the engagement did not take the word; empty where it did or is over."""
        if row.is_open:
            try:
                await self._engine.command(row.workflow_id, names.STOP, command)
            except (NotFound, NotAllowed):
                return row.workflow_id, ""  # it is over, or has just been settled
            except EngineUnavailable as error:
                return row.workflow_id, str(error)
        return row.workflow_id, ""

    async def _look(self, row: PersonsEngagement, trouble: str) -> StillOpen | None:
        try:
            runs = await self._engine.is_open(row.workflow_id)
        except EngineUnavailable as error:
            return StillOpen(workflow_id=row.workflow_id, reason=str(error))
        if not runs:
            return None
        reason = trouble or "it is ending: a send in hand, or its tenant's system, has not answered yet"
        return StillOpen(workflow_id=row.workflow_id, reason=reason)
