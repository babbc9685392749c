"""Notices that a tenant's system did not take at once: visible until it does, sent by hand when nobody tries more."""

from datetime import datetime

from sqlalchemy import Connection, select, update

from domain.ats import AtsLetter, NoticeState
from domain.calls import AtsNotice
from domain.errors import NotFound
from domain.sends import SendFailure
from store.ats_tables import ats_notices
from store.clock import bookkeeping_now
from store.database import Database, insert_new
from store.keys import KeyRing
from store.tables import engagements

_PURPOSE = "ats-notice"
_SHOWN = [ats_notices.c[name] for name in AtsLetter.model_fields]


class AtsNotices:
    """Answers the port ``AtsLetters``. Every method may raise ``StoreUnavailable``."""

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self._database, self._keys = database, keys

    async def failed(
        self, notice: AtsNotice, failure: SendFailure, *, attempt: int, gives_up_at: datetime | None, final: bool
    ) -> None:
        """Keep a notice that was not taken, or how often that happened. One that was delivered stays so.

        Nothing is kept of somebody who was erased meanwhile.
        """
        now, about = bookkeeping_now(), notice.about
        told: dict[str, object] = {
            "state": (NoticeState.REFUSED if final else NoticeState.FAILING).value,
            "attempts": attempt,
            "code": failure.code,
            "reason": failure.reason,
            "tried_at": now,
            "gives_up_at": None if final else gives_up_at,
        }
        first: dict[str, object] = {
            "event_id": notice.event_id,
            "tenant": about.tenant,
            "reference": about.reference,
            "event_type": notice.event_type,
            "notice": self._keys.seal(notice.model_dump_json().encode(), _PURPOSE),
            "made_at": notice.at,
        }

        def work(connection: Connection) -> None:
            if _is_erased(connection, about.tenant, about.reference):
                return
            if insert_new(connection, ats_notices, first | told, key=["event_id"]):
                return
            standing = ats_notices.c.state != NoticeState.DELIVERED.value
            connection.execute(
                update(ats_notices).where(ats_notices.c.event_id == notice.event_id, standing).values(**told)
            )

        await self._database.write(work)

    async def delivered(self, event_id: str) -> None:
        """It went through: what it said is dropped. One that was never kept is no error."""
        done = {
            "state": NoticeState.DELIVERED.value,
            "notice": None,
            "tried_at": bookkeeping_now(),
            "gives_up_at": None,
        }
        await self._database.write(
            lambda connection: connection.execute(
                update(ats_notices).where(ats_notices.c.event_id == event_id).values(**done)
            )
        )

    async def list(self, tenant: str, *, undelivered: bool = False, limit: int = 50) -> tuple[AtsLetter, ...]:
        """A tenant's notices that were not taken at once, oldest first; ``undelivered`` leaves out what got there."""
        c = ats_notices.c
        wanted = select(*_SHOWN).where(c.tenant == tenant).order_by(c.made_at, c.event_id).limit(limit)
        if undelivered:
            wanted = wanted.where(c.state != NoticeState.DELIVERED.value)
        rows = await self._database.read(lambda connection: connection.execute(wanted).mappings().all())
        return tuple(AtsLetter.model_validate(dict(row)) for row in rows)

    async def open(self, tenant: str, event_id: str) -> AtsNotice:
        """What an undelivered notice says. Raises ``NotFound``."""
        wanted = select(ats_notices.c.notice).where(ats_notices.c.event_id == event_id, ats_notices.c.tenant == tenant)
        sealed = await self._database.read(lambda connection: connection.execute(wanted).scalar_one_or_none())
        if sealed is None:
            raise NotFound(
                f"tenant {tenant} has no undelivered notice {event_id}: see `rapport ats list --undelivered`"
            )
        return AtsNotice.model_validate_json(self._keys.open(sealed, _PURPOSE))


def _is_erased(connection: Connection, tenant: str, reference: str) -> bool:
    """Whether the person of this engagement was erased. One who is just being erased is swept once more afterwards."""
    c = engagements.c
    wanted = select(c.workflow_id).where(c.tenant == tenant, c.reference == reference, c.erased_at.is_not(None))
    return connection.execute(wanted).first() is not None
