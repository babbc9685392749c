"""What tenants' systems did not take, and what they told: for people, and once more by hand."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime

import structlog

from domain.ats import AtsDelivery, AtsDeliveryState, AtsLetter
from domain.errors import SendError
from domain.model import Model
from domain.ports import AtsNotifier
from store.ats_inbox import AtsInbox
from store.ats_letters import AtsNotices

log = structlog.get_logger()

NotifierOpener = Callable[[], AbstractAsyncContextManager[AtsNotifier]]
"""Opens what can tell tenants' systems, for as long as a block lasts; reads its keys only then."""


class Replayed(Model):
    """One notice that was sent once more; ``reason`` says why it was not taken."""

    event_id: str
    delivered: bool
    reason: str = ""


class AtsService:
    """Everything that can be asked of a tenant's own system by hand. Every method may raise ``StoreUnavailable``."""

    def __init__(self, letters: AtsNotices, told: AtsInbox, notifier: NotifierOpener) -> None:
        self._letters, self._told, self._notifier = letters, told, notifier

    async def letters(self, tenant: str, *, undelivered: bool, limit: int = 100) -> tuple[AtsLetter, ...]:
        """Notices that were not taken at once, oldest first."""
        return await self._letters.list(tenant, undelivered=undelivered, limit=limit)

    async def received(
        self, tenant: str, states: Sequence[AtsDeliveryState] = (), limit: int = 100
    ) -> tuple[AtsDelivery, ...]:
        """What the tenant's system told, newest first."""
        return await self._told.list(tenant, states=states, limit=limit)

    async def replay(self, tenant: str, event_ids: Sequence[str]) -> tuple[Replayed, ...]:
        """Send undelivered notices once more, under their own ids: one that was taken all the same is a repeat there.

        Raises ``NotFound`` for one that is not undelivered, before anything is sent.
        """
        notices = [await self._letters.open(tenant, event_id) for event_id in event_ids]
        replayed = []
        async with self._notifier() as notifier:
            for notice in notices:
                try:
                    await notifier.notify(tenant, notice)
                except SendError as error:
                    replayed.append(Replayed(event_id=notice.event_id, delivered=False, reason=str(error)))
                    continue
                await self._letters.delivered(notice.event_id)
                replayed.append(Replayed(event_id=notice.event_id, delivered=True))
        log.info("ats_notices_replayed", tenant=tenant, delivered=sum(one.delivered for one in replayed))
        return tuple(replayed)


def gives_up(letter: AtsLetter, now: datetime) -> bool:
    """Whether nobody tries this one any more by itself."""
    return letter.gives_up_at is None or letter.gives_up_at <= now
