"""People of whom nothing was heard for long: found, and marked to be erased if that is still so."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select

from store.aliases import lock_contact
from store.database import Database, insert_new
from store.erasure_tables import erasures
from store.inbox_tables import EventState, inbox_events
from store.tables import (
    consents,
    contact_aliases,
    contact_lines,
    contacts,
    engagements,
    opt_ins,
    opt_outs,
)


@dataclass(frozen=True)
class QuietPerson:
    """Somebody who may go, with the workflow ids of all that they ever had."""

    contact_id: str
    workflow_ids: tuple[str, ...] = ()


class QuietPeople:
    """Who may go. Every method may raise ``StoreUnavailable``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count(self, before: datetime) -> int:
        """How many people have nothing open and of whom nothing was heard since."""
        wanted = select(func.count()).select_from(contacts).where(_quiet(before))
        return await self._database.read(lambda connection: connection.execute(wanted).scalar_one())

    async def page(self, before: datetime, after: str, limit: int) -> tuple[QuietPerson, ...]:
        """Some of them, in the order of their ids from ``after`` on."""
        c = contacts.c
        wanted = select(c.id).where(_quiet(before), c.id > after).order_by(c.id).limit(limit)
        return await self._database.read(
            lambda connection: _with_engagements(connection, list(connection.execute(wanted).scalars()))
        )

    async def broken_off(self, after: str, limit: int) -> tuple[QuietPerson, ...]:
        """People whose erasure was begun and not ended, and of whom nothing is open any more."""
        c = erasures.c
        wanted = select(c.contact_id).where(c.cleared_at.is_(None), ~_open(c.contact_id), c.contact_id > after)
        return await self._database.read(
            lambda connection: _with_engagements(
                connection, list(connection.execute(wanted.order_by(c.contact_id).limit(limit)).scalars())
            )
        )

    async def mark(self, contact_id: str, before: datetime, actor: str, reason: str, at: datetime) -> bool:
        """Mark somebody as being erased, unless something was heard of them meanwhile: then False.

        From then on nothing of theirs begins: whoever registers an engagement waits for this, or this sees it.
        """
        row: dict[str, object] = {"contact_id": contact_id, "asked_at": at, "actor": actor, "reason": reason}

        def work(connection: Connection) -> bool:
            lock_contact(connection, contact_id)
            still = select(contacts.c.id).where(contacts.c.id == contact_id, _quiet(before))
            if connection.execute(still).first() is None:
                return False
            insert_new(connection, erasures, row, key=["contact_id"])
            return True

        return await self._database.write(work)


def _quiet(before: datetime) -> ColumnElement[bool]:
    """Nothing is open, and nothing was heard since: no end, consent, opt-out, message, new way to recognise them."""
    of = contacts.c.id
    heard = (
        and_(engagements.c.contact_id == of, engagements.c.closed_at >= before),
        and_(consents.c.contact_id == of, consents.c.obtained_at >= before),
        and_(opt_outs.c.contact_id == of, or_(opt_outs.c.at >= before, opt_outs.c.lifted_at >= before)),
        and_(opt_ins.c.contact_id == of, opt_ins.c.at >= before),
        and_(contact_lines.c.contact_id == of, contact_lines.c.last_inbound_at >= before),
        and_(contact_aliases.c.contact_id == of, contact_aliases.c.learned_at >= before),
        and_(inbox_events.c.contact_id == of, inbox_events.c.state == EventState.PENDING.value),
    )
    return and_(contacts.c.created_at < before, ~_open(of), *(~exists().where(one) for one in heard))


def _open(of: ColumnElement[str]) -> ColumnElement[bool]:
    return exists().where(engagements.c.contact_id == of, engagements.c.closed_at.is_(None))


def _with_engagements(connection: Connection, ids: list[str]) -> tuple[QuietPerson, ...]:
    had: dict[str, list[str]] = {contact_id: [] for contact_id in ids}
    c = engagements.c
    for row in connection.execute(select(c.contact_id, c.workflow_id).where(c.contact_id.in_(ids))):
        had[row.contact_id].append(row.workflow_id)
    return tuple(QuietPerson(contact_id, tuple(sorted(theirs))) for contact_id, theirs in had.items())
