"""What is old enough to go, and its going, page by page. The only place in the store that drops things for their age.

Each page is one transaction, so that others get their turn and that a run may be stopped anywhere and repeated.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, exists, func, or_, select, tuple_, update

from domain.ats import AtsDeliveryState, NoticeState
from domain.retention import BY_THEMSELVES, KeptKind, RetentionTerms
from store.ats_tables import ats_deliveries, ats_notices
from store.clock import bookkeeping_now
from store.database import Database
from store.erasure import bare_archive
from store.erasure_columns import EMPTIED, emptied
from store.inbox_tables import DeliveryState, EventState, inbox_deliveries, inbox_events
from store.keys import KeyRing
from store.registry import ARCHIVE_PURPOSE
from store.tables import engagements, idempotency_keys, sends

PAGE = 500

_DONE = [s.value for s in (EventState.RELAYED, EventState.LATE, EventState.NO_EFFECT, EventState.DISCARDED)]
_FOR_A_PERSON = [EventState.UNMATCHED.value, EventState.PARKED.value]


@dataclass(frozen=True)
class _Old:
    """Rows of a table whose time is over."""

    table: Table
    which: ColumnElement[bool]

    @property
    def names(self) -> list[ColumnElement[object]]:
        return list(self.table.primary_key.columns)


class Retention:
    """Drops what the terms say. Every method may raise ``StoreUnavailable``; repeating any of them is harmless."""

    def __init__(
        self,
        database: Database,
        keys: KeyRing,
        terms: RetentionTerms | None = None,
        *,
        clock: Callable[[], datetime] = bookkeeping_now,
    ) -> None:
        self._database, self._keys, self._clock = database, keys, clock
        self.terms = terms or RetentionTerms()

    async def count(self, kind: KeptKind) -> int:
        """How many of a kind (not of people) are old enough to go."""
        old = self._old(kind)
        wanted = select(func.count()).select_from(old.table).where(old.which)
        return await self._database.read(lambda connection: connection.execute(wanted).scalar_one())

    async def page(self, kind: KeptKind, limit: int = PAGE) -> int:
        """Drop some of a kind (not of people); how many went. 0 once there are no more."""
        return await self._database.write(lambda connection: self._page(connection, kind, limit))

    async def drop(self, kinds: Sequence[KeptKind] = BY_THEMSELVES) -> dict[KeptKind, int]:
        """Drop all of these kinds; how many went. Other writers get their turn in between."""
        gone = dict.fromkeys(kinds, 0)
        for kind in kinds:
            while some := await self.page(kind):
                gone[kind] += some
        return gone

    def _page(self, connection: Connection, kind: KeptKind, limit: int) -> int:
        old = self._old(kind)
        some = select(*old.names).where(old.which).order_by(*old.names).limit(limit).with_for_update(skip_locked=True)
        found = [tuple(row) for row in connection.execute(some)]
        if not found:
            return 0
        these = tuple_(*old.names).in_(found)
        match kind:
            case KeptKind.SENDS:
                connection.execute(update(sends).where(these).values(**emptied(sends)))
            case KeptKind.CONTENTS:
                _bare(connection, self._keys, these)
            case KeptKind.DECISIONS:
                connection.execute(update(engagements).where(these).values(archive=None))
            case _:
                connection.execute(delete(old.table).where(these))
        return len(found)

    def _old(self, kind: KeptKind) -> _Old:
        return _OLD[kind](self.terms, self._clock())


def _bare(connection: Connection, keys: KeyRing, these: ColumnElement[bool]) -> None:
    """Leave how they ended and the decision log, as an erasure does; the person's other engagements are untouched."""
    c = engagements.c
    for row in connection.execute(select(c.workflow_id, c.archive).where(these)).all():
        if row.archive is not None:
            keys.open(row.archive, ARCHIVE_PURPOSE)  # loudly: a master key that is not given here costs no decision log
        archive = bare_archive(keys, row.archive, row.workflow_id)
        values: dict[str, object] = {"input": None, "archive": archive}
        connection.execute(update(engagements).where(c.workflow_id == row.workflow_id).values(**values))


def _events(terms: RetentionTerms, now: datetime) -> _Old:
    c = inbox_events.c
    youngest = max(now - terms.inbox, now - terms.unreadable, now - terms.unmatched)
    which = or_(
        and_(c.state.in_(_DONE), c.received_at < now - terms.inbox),
        and_(c.state == EventState.QUARANTINED.value, c.received_at < now - terms.unreadable),
        and_(c.state.in_(_FOR_A_PERSON), c.received_at < now - terms.unmatched),
    )
    return _Old(inbox_events, and_(c.received_at < youngest, which))


def _deliveries(terms: RetentionTerms, now: datetime) -> _Old:
    c = inbox_deliveries.c
    return _Old(inbox_deliveries, and_(c.state == DeliveryState.PARSED.value, c.received_at < now - terms.inbox))


def _told(terms: RetentionTerms, now: datetime) -> _Old:
    c = ats_deliveries.c
    return _Old(ats_deliveries, and_(c.received_at < now - terms.told, c.state != AtsDeliveryState.WAITING.value))


def _notices(terms: RetentionTerms, now: datetime) -> _Old:
    """Those that were taken; and with the contents of their engagement those that nobody ever took."""
    c = ats_notices.c
    its = and_(engagements.c.tenant == c.tenant, engagements.c.reference == c.reference)
    taken = and_(c.state == NoticeState.DELIVERED.value, c.made_at < now - terms.notices)
    return _Old(ats_notices, or_(taken, _ended_before(now - terms.contents, its)))


def _requests(terms: RetentionTerms, now: datetime) -> _Old:
    return _Old(idempotency_keys, idempotency_keys.c.created_at < now - terms.requests)


def _sends(terms: RetentionTerms, now: datetime) -> _Old:
    holding = or_(*(sends.c[name] != "" for name in sorted(EMPTIED[sends])))
    its = engagements.c.workflow_id == sends.c.workflow_id
    return _Old(sends, and_(holding, _ended_before(now - terms.handles, its)))


def _contents(terms: RetentionTerms, now: datetime) -> _Old:
    c = engagements.c
    return _Old(engagements, and_(c.closed_at < now - terms.contents, c.input.is_not(None)))


def _decisions(terms: RetentionTerms, now: datetime) -> _Old:
    c = engagements.c
    return _Old(engagements, and_(c.closed_at < now - terms.decisions, c.archive.is_not(None)))


def _ended_before(instant: datetime, its: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(its, engagements.c.closed_at < instant)


_OLD: Mapping[KeptKind, Callable[[RetentionTerms, datetime], _Old]] = {
    KeptKind.EVENTS: _events,
    KeptKind.DELIVERIES: _deliveries,
    KeptKind.TOLD: _told,
    KeptKind.NOTICES: _notices,
    KeptKind.REQUESTS: _requests,
    KeptKind.SENDS: _sends,
    KeptKind.CONTENTS: _contents,
    KeptKind.DECISIONS: _decisions,
}
"""Every kind but people, who are erased one by one: ``store.quiet_people``."""
