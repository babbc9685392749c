"""People: who they are, whether we may write to them, and who is busy. The in-transaction forms end in ``_within``."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache

import structlog
from sqlalchemy import Connection, Executable, bindparam, func, select

from domain.calls import Admission, AdmissionRequest, LearnedAliases
from domain.contacts import Alias, Consent, OptOut, OptOutScope
from store.admission import admit_within
from store.aliases import find_within, learn_within, lock_contact, resolve_within
from store.contact_record import ContactRecord, record_within
from store.database import Database, insert_for
from store.keys import KeyRing
from store.leave import (
    Reach,
    has_consent_within,
    opt_in_within,
    opt_out_in_force,
    opt_out_within,
    record_consent_within,
)
from store.tables import contact_lines, engagements

__all__ = [
    "Contacts",
    "Reach",
    "find_within",
    "has_consent_within",
    "learn_within",
    "open_engagements_within",
    "opt_in_within",
    "opt_out_in_force",
    "opt_out_within",
    "record_consent_within",
    "record_inbound_within",
    "record_inbounds_within",
    "resolve_within",
]

_LAST_INBOUND = select(contact_lines.c.last_inbound_at).where(
    contact_lines.c.contact_id == bindparam("contact"), contact_lines.c.line == bindparam("on_line")
)

log = structlog.get_logger()


class Contacts:
    """Contacts in the store. Answers the port ``ContactPolicy``. Every method may raise ``StoreUnavailable``."""

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self._database = database
        self._keys = keys

    async def admit(self, request: AdmissionRequest) -> Admission:
        """Decide once whether an engagement may begin, and take the line for it; repeating gives the same answer.

        Rules, in this order: ``no-consent``, ``opted-out``, ``already-busy``, which is ``queued`` and not decided where
        the plan waits for the other engagement to end. What cannot be checked is refused:
        ``not-registered`` without a row in the registry, ``unknown-contact`` without the contact.

        One that goes over to another line is judged again for that line, and the registry moves it there when it may.
        """
        return await self._database.write(lambda connection: admit_within(connection, request))

    async def learn(self, learned: LearnedAliases) -> None:
        """Add aliases to a contact; one that already names another contact is left alone and reported in the log."""
        foreign = await self._database.write(
            lambda connection: learn_within(connection, self._keys, learned.contact_id, learned.aliases)
        )
        if foreign:
            log.warning("aliases_name_another_contact", contact_id=learned.contact_id, aliases=foreign)

    async def resolve(self, aliases: Sequence[Alias]) -> str:
        """The contact that one of ``aliases`` names (best first), made when there is none; two at once get the same.

        Raises ``BadInput`` without any alias.
        """
        return await self._database.write(lambda connection: resolve_within(connection, self._keys, aliases))

    async def find(self, aliases: Sequence[Alias]) -> str | None:
        """The contact that the first known of ``aliases`` names; None when none is known."""
        return await self._database.read(lambda connection: find_within(connection, self._keys, aliases))

    async def record(self, contact_id: str) -> ContactRecord:
        """Everything that is kept of a person but the keys to recognise them. Raises ``NotFound``."""
        return await self._database.read(lambda connection: record_within(connection, contact_id))

    async def record_consent(self, contact_id: str, tenant: str, consent: Consent) -> None:
        """Keep the evidence of an opt-in; repeating is harmless. Lifts no opt-out. Raises ``NotFound``."""
        await self._database.write(lambda connection: record_consent_within(connection, contact_id, tenant, consent))

    async def opt_out(self, contact_id: str, opt_out: OptOut) -> None:
        """Record a withdrawal of consent; the next claim sees it. Repeating is harmless. Raises ``NotFound``."""
        await self._database.write(lambda connection: opt_out_within(connection, contact_id, opt_out))

    async def opt_in(
        self, contact_id: str, scope: OptOutScope, scope_value: str, at: datetime, source: str = ""
    ) -> None:
        """Lift every opt-out of exactly this scope that is older than ``at``. Raises ``NotFound``."""
        await self._database.write(
            lambda connection: opt_in_within(connection, contact_id, scope, scope_value, at, source)
        )

    async def record_inbound(self, contact_id: str, line: str, at: datetime) -> None:
        """The person wrote to ``line`` at ``at``; an older instant never replaces a newer one."""
        await self._database.write(lambda connection: record_inbound_within(connection, contact_id, line, at))

    async def last_inbound(self, contact_id: str, line: str) -> datetime | None:
        """When the person last wrote to ``line``; None when never."""
        return await self._database.read(lambda connection: last_inbound_within(connection, contact_id, line))

    async def open_engagements(self, contact_id: str, line: str | None = None) -> tuple[str, ...]:
        """Workflow ids of the person's engagements that are not closed, on one line or on all, oldest first."""
        return await self._database.read(lambda connection: open_engagements_within(connection, contact_id, line))


def last_inbound_within(connection: Connection, contact_id: str, line: str) -> datetime | None:
    """``Contacts.last_inbound`` inside a transaction."""
    return connection.execute(_LAST_INBOUND, {"contact": contact_id, "on_line": line}).scalar_one_or_none()


def record_inbound_within(connection: Connection, contact_id: str, line: str, at: datetime) -> None:
    """``Contacts.record_inbound`` inside a transaction; nothing is kept of a contact that does not exist."""
    if lock_contact(connection, contact_id):
        record_inbounds_within(connection, {(contact_id, line): at})


def record_inbounds_within(connection: Connection, wrote: Mapping[tuple[str, str], datetime]) -> None:
    """When contacts, which are there and locked, last wrote to lines. An earlier instant is no news."""
    rows = [{"contact_id": who, "line": line, "last_inbound_at": wrote[who, line]} for who, line in sorted(wrote)]
    connection.execute(_later_inbound(connection.dialect.name), rows)


@cache  # run for every delivery, so it is built only once
def _later_inbound(dialect: str) -> Executable:
    statement = insert_for(dialect, contact_lines)
    at = statement.excluded.last_inbound_at
    return statement.on_conflict_do_update(
        index_elements=["contact_id", "line"],
        set_={"last_inbound_at": at},
        where=contact_lines.c.last_inbound_at < at,
    )


def open_engagements_within(connection: Connection, contact_id: str, line: str | None = None) -> tuple[str, ...]:
    """``Contacts.open_engagements`` inside a transaction. An engagement that was refused at its start is not open."""
    wanted = (
        select(engagements.c.workflow_id)
        .where(
            engagements.c.contact_id == contact_id,
            engagements.c.closed_at.is_(None),
            func.coalesce(engagements.c.admission_rule, "") == "",
        )
        .order_by(engagements.c.created_at, engagements.c.workflow_id)
    )
    if line is not None:
        wanted = wanted.where(engagements.c.line == line)
    return tuple(connection.execute(wanted).scalars())
