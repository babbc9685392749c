"""Erasing a person from the store: marked first, lost in one transaction, swept once more, overwritten at the end.

Every step may be repeated. What each column loses stands in ``store.erasure_columns``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from pydantic import ValidationError
from sqlalchemy import Connection, Select, Table, and_, case, delete, func, or_, select, update

from domain.ats import AtsDeliveryState
from domain.errors import NotFound, SetupError
from domain.model import Instant, Model
from domain.outcomes import EngagementOutcome
from store.ats_tables import ats_deliveries, ats_notices
from store.candidate_keys import destroy_within
from store.clock import bookkeeping_now
from store.database import Database, insert_new
from store.erasure_columns import DELETED, EMPTIED, emptied
from store.erasure_tables import erasures, is_marked_within
from store.inbox_review import forget_within
from store.keys import KeyRing
from store.registry import ARCHIVE_PURPOSE, ArchivedEngagement, without_the_person
from store.suppressions import suppress_within
from store.tables import (
    consents,
    contact_aliases,
    contact_lines,
    contacts,
    engagements,
    idempotency_keys,
    opt_ins,
    opt_outs,
    sends,
)

_OF_THE_CONTACT = (contact_aliases, consents, opt_outs, opt_ins, contact_lines)
_WAITING = AtsDeliveryState.WAITING.value
_AT_ONCE = 500
_TO_REWRITE = ("keys",)
"""Small, and what lies in it opens every history of the person: not even its free space may hold that."""

log = structlog.get_logger()


class ErasureRecord(Model):
    """That a person was to be erased, why, and how far it has come."""

    contact_id: str
    asked_at: Instant
    actor: str
    reason: str
    erased_at: Instant | None = None
    counts: dict[str, int] | None = None
    cleared_at: Instant | None = None


@dataclass(frozen=True)
class PersonsEngagement:
    """One engagement of the person, as erasing needs it."""

    tenant: str
    reference: str
    workflow_id: str
    is_open: bool


class Erasures:
    """Erasing people in the store. Every method may raise ``StoreUnavailable``."""

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self._database, self._keys = database, keys

    async def record(self, contact_id: str) -> ErasureRecord | None:
        """How far erasing this person has come; None when nobody asked for it."""
        wanted = select(erasures).where(erasures.c.contact_id == contact_id)
        row = await self._database.read(lambda connection: connection.execute(wanted).mappings().one_or_none())
        return None if row is None else ErasureRecord.model_validate(dict(row))

    async def unfinished(self, limit: int) -> tuple[ErasureRecord, ...]:
        """People who were to be erased and are not wholly so, those asked for longest ago first."""
        wanted = select(erasures).where(erasures.c.cleared_at.is_(None)).order_by(erasures.c.asked_at).limit(limit)
        rows = await self._database.read(lambda connection: connection.execute(wanted).mappings().all())
        return tuple(ErasureRecord.model_validate(dict(row)) for row in rows)

    async def engagements_of(self, contact_id: str) -> tuple[PersonsEngagement, ...]:
        """Every engagement that the person ever had, with any tenant."""
        return await self._database.read(lambda connection: _engagements(connection, contact_id))

    async def tenants_of(self, contact_id: str) -> frozenset[str]:
        """Who has an engagement or a consent of the person."""

        def work(connection: Connection) -> frozenset[str]:
            had = select(engagements.c.tenant).where(engagements.c.contact_id == contact_id)
            agreed = select(consents.c.tenant).where(consents.c.contact_id == contact_id)
            return frozenset(connection.execute(had.union(agreed)).scalars())

        return await self._database.read(work)

    async def mark(self, contact_id: str, actor: str, reason: str, at: datetime) -> ErasureRecord:
        """From now on nothing of this person begins and nothing is sent. The first one to ask is the one on record.

        Raises ``NotFound`` for an id that never was a person's.
        """
        row: dict[str, object] = {"contact_id": contact_id, "asked_at": at, "actor": actor, "reason": reason}

        def work(connection: Connection) -> ErasureRecord:
            known = connection.execute(_locked(contact_id)).first() is not None
            if not known and not _engagements(connection, contact_id) and not is_marked_within(connection, contact_id):
                raise NotFound(f"There is no contact {contact_id}")
            insert_new(connection, erasures, row, key=["contact_id"])
            kept = connection.execute(select(erasures).where(erasures.c.contact_id == contact_id)).mappings().one()
            return ErasureRecord.model_validate(dict(kept))

        return await self._database.write(work)

    async def erase(self, contact_id: str, at: datetime) -> Mapping[str, int]:
        """Lose the person in one transaction; says how many rows of each kind it changed now.

        An engagement that the registry still takes for open is closed as STOPPED: the caller made sure that Temporal
        runs none.
        """
        counts = await self._database.write(lambda connection: erase_within(connection, self._keys, contact_id, at))
        # a delivery that was being read meanwhile may have left something after that transaction had looked
        await self._database.write(lambda connection: _sweep(connection, self._keys, contact_id))
        return counts

    async def clear(self, contact_id: str) -> bool:
        """Overwrite what deleted rows left behind, and say so on record. False when others held that up: repeat it."""
        return await self.clear_many([contact_id])

    async def clear_many(self, contact_ids: Sequence[str]) -> bool:
        """``clear`` for all of these at once, who were lost before."""
        tables = [table.name for table in (*DELETED, *EMPTIED)]
        if not await self._database.leave_no_trace(tables, to_rewrite=_TO_REWRITE):
            return False
        c = erasures.c

        def say_so(connection: Connection) -> None:
            for start in range(0, len(contact_ids), _AT_ONCE):
                these = c.contact_id.in_(contact_ids[start : start + _AT_ONCE])
                now = func.coalesce(c.cleared_at, bookkeeping_now())
                connection.execute(update(erasures).where(these, c.erased_at.is_not(None)).values(cleared_at=now))

        await self._database.write(say_so)
        return True


def erase_within(connection: Connection, keys: KeyRing, contact_id: str, at: datetime) -> dict[str, int]:
    """``Erasures.erase`` inside a transaction. Locked as everywhere: events, sends, then people."""
    rows = _engagements(connection, contact_id)
    counts = {"inbox events": _forget_events(connection, contact_id, rows)}
    counts["sends"] = _empty_sends(connection, contact_id)
    connection.execute(_locked(contact_id))
    counts["suppressions"] = suppress_within(connection, contact_id)
    counts |= {
        table.name: connection.execute(delete(table).where(table.c.contact_id == contact_id)).rowcount
        for table in _OF_THE_CONTACT
    }
    counts["contacts"] = connection.execute(delete(contacts).where(contacts.c.id == contact_id)).rowcount
    counts["keys"] = destroy_within(connection, contact_id, at)
    counts["engagements"] = sum(_erase_engagement(connection, keys, row, at) for row in rows)
    counts["notices"] = _of_references(connection, ats_notices, rows)
    counts["told by the ATS"] = _empty_deliveries(connection, rows)
    counts["idempotency answers"] = sum(_forget_answers(connection, row) for row in rows)
    first = erasures.c.counts.is_(None)
    connection.execute(
        update(erasures)
        .where(erasures.c.contact_id == contact_id)
        .values(erased_at=func.coalesce(erasures.c.erased_at, at), cleared_at=None)
    )
    connection.execute(update(erasures).where(erasures.c.contact_id == contact_id, first).values(counts=counts))
    return counts


def _sweep(connection: Connection, keys: KeyRing, contact_id: str) -> None:
    rows = _engagements(connection, contact_id)
    _forget_events(connection, contact_id, rows)
    _empty_sends(connection, contact_id)
    for row in rows:
        _erase_engagement(connection, keys, row, bookkeeping_now())
        _forget_answers(connection, row)
    _of_references(connection, ats_notices, rows)


def _locked(contact_id: str) -> Select[tuple[str]]:
    """Let no other transaction decide about this person until this one ends."""
    return select(contacts.c.id).where(contacts.c.id == contact_id).with_for_update(key_share=True)


def _engagements(connection: Connection, contact_id: str) -> tuple[PersonsEngagement, ...]:
    c = engagements.c
    wanted = (
        select(c.tenant, c.reference, c.workflow_id, c.closed_at.is_(None).label("is_open"))
        .where(c.contact_id == contact_id)
        .order_by(c.created_at, c.workflow_id)
    )
    return tuple(PersonsEngagement(*row) for row in connection.execute(wanted))


def _forget_events(connection: Connection, contact_id: str, rows: Sequence[PersonsEngagement]) -> int:
    digests = connection.execute(
        select(contact_aliases.c.digest).where(contact_aliases.c.contact_id == contact_id)
    ).scalars()
    return forget_within(
        connection,
        contact_id,
        workflow_ids=[row.workflow_id for row in rows],
        senders=[digest.hex() for digest in digests],
    )


def _empty_sends(connection: Connection, contact_id: str) -> int:
    c = sends.c
    # a settlement that is being written is waited for: the search alone would not see what it adds
    connection.execute(select(c.key).where(c.contact_id == contact_id).order_by(c.key).with_for_update()).all()
    held = or_(c.run_id != "", c.message_id != "", c.session_id != "", c.thread_id != "", c.reason != "")
    return connection.execute(update(sends).where(c.contact_id == contact_id, held).values(**emptied(sends))).rowcount


def _erase_engagement(connection: Connection, keys: KeyRing, row: PersonsEngagement, at: datetime) -> bool:
    """Whether there was anything left to lose."""
    c = engagements.c
    this = c.workflow_id == row.workflow_id
    kept = connection.execute(select(c.archive, c.erased_at, c.input, c.closed_at).where(this).with_for_update()).one()
    if kept.erased_at is not None and kept.input is None:
        return False
    connection.execute(
        update(engagements)
        .where(this)
        .values(
            **emptied(engagements) | {"fingerprints": {"erased": ""}},  # no later request equals it
            archive=bare_archive(keys, kept.archive, row.workflow_id),
            outcome=case((c.closed_at.is_(None), EngagementOutcome.STOPPED.value), else_=c.outcome),
            closed_at=func.coalesce(c.closed_at, at),
            erased_at=func.coalesce(c.erased_at, at),
        )
    )
    return True


def bare_archive(keys: KeyRing, sealed: bytes | None, workflow_id: str) -> bytes | None:
    """An archive without the person; none where it cannot be opened, because what is not known must not stay."""
    if sealed is None:
        return None
    try:
        archive = ArchivedEngagement.model_validate_json(keys.open(sealed, ARCHIVE_PURPOSE))
    except (SetupError, ValidationError) as error:
        log.warning("archive_lost_with_the_person", workflow_id=workflow_id, error_type=type(error).__name__)
        return None
    return keys.seal(without_the_person(archive).model_dump_json().encode(), ARCHIVE_PURPOSE)


def _of_references(connection: Connection, table: Table, rows: Sequence[PersonsEngagement]) -> int:
    return sum(
        connection.execute(
            delete(table).where(table.c.tenant == row.tenant, table.c.reference == row.reference)
        ).rowcount
        for row in rows
    )


def _empty_deliveries(connection: Connection, rows: Sequence[PersonsEngagement]) -> int:
    """One that waits is carried out first, which needs its body and drops it."""
    c = ats_deliveries.c
    done = and_(c.state != _WAITING, or_(c.body.is_not(None), c.reason != ""))
    return sum(
        connection.execute(
            update(ats_deliveries)
            .where(c.tenant == row.tenant, c.reference == row.reference, done)
            .values(**emptied(ats_deliveries))
        ).rowcount
        for row in rows
    )


def _forget_answers(connection: Connection, row: PersonsEngagement) -> int:
    """What was answered names the engagement; the fingerprint beside it was made of the whole request."""
    c = idempotency_keys.c
    named = c.response.contains(f'"workflow_id":"{row.workflow_id}"', autoescape=True)
    return connection.execute(delete(idempotency_keys).where(c.tenant == row.tenant, named)).rowcount
