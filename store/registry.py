"""The registry: one row per engagement, written before Temporal hears of it, kept after Temporal has forgotten it."""

from datetime import datetime
from typing import NamedTuple

import structlog
from pydantic import Field
from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, or_, select, update

from domain.admission import may_leave_by
from domain.calls import Admission, AdmissionRequest, CloseRequest
from domain.engagements import Engagement
from domain.errors import Conflict, NotAllowed, NotFound
from domain.model import Instant, Model, Reference, Slug
from domain.outcomes import Decision, EngagementOutcome, EngagementResult
from store.admission import judge_within
from store.aliases import lock_contact
from store.clock import bookkeeping_now
from store.database import Database, insert_new
from store.erasure_tables import is_marked_within
from store.keys import KeyRing
from store.leave import record_consent_within
from store.tables import engagements
from store.templates import known_within

_INPUT = "engagement-input"
ARCHIVE_PURPOSE = "engagement-archive"

_C = engagements.c
_THIS = _C.workflow_id == bindparam("engagement")
_CLOSED = update(engagements).where(_THIS, _C.closed_at.is_(None))
_OUTCOME = select(_C.outcome).where(_THIS)
_NOT_ADMITTED = (
    select(_C.workflow_id)
    .where(
        _C.contact_id == bindparam("contact"),
        _C.closed_at.is_(None),
        _C.admitted_at.is_(None),
        _C.admission_rule.is_(None),
    )
    .order_by(_C.created_at, _C.workflow_id)
)
_ROW = [column for column in engagements.c if column.name not in ("input", "archive")]

log = structlog.get_logger()


class EngagementRow(Model):
    """What the registry says of an engagement: nothing of the person but our own id.

    ``fingerprints`` has a keyed hash per field of the input (``KeyRing.fingerprint``), so that a repeated request can
    be told from another one under the same reference. ``key_id`` is set by the registry.
    """

    tenant: Slug
    reference: Reference
    workflow_id: str
    contact_id: str
    line: Slug
    account: Slug
    provider: Slug
    job: str = ""
    plan: str
    fingerprints: dict[str, str] = Field(min_length=1)
    key_id: str = ""
    created_at: Instant
    started_at: Instant | None = None
    admitted_at: Instant | None = None
    outcome: EngagementOutcome | None = None
    closed_at: Instant | None = None
    erased_at: Instant | None = None
    """Since then nothing of the person is kept here."""


class Registered(NamedTuple):
    """What stands in the registry. ``created``: this call wrote it, and ``engagement`` is the input as it was kept."""

    row: EngagementRow
    created: bool
    engagement: Engagement | None = None


class ArchivedEngagement(Model):
    """What is kept of a closed engagement: its result, the decision log and the snapshot, which is JSON itself."""

    workflow_id: str
    result: EngagementResult
    decisions: tuple[Decision, ...]
    snapshot: str
    closed_at: Instant


def without_the_person(archive: ArchivedEngagement) -> ArchivedEngagement:
    """What stays of an archive when the person is erased: how it ended and the decision log."""
    bare = archive.result.settlement.model_copy(update={"answers": {}, "text": ""})
    result = archive.result.model_copy(update={"settlement": bare})
    return archive.model_copy(update={"result": result, "snapshot": ""})


class EngagementRegistry:
    """The registry in the store, port ``EngagementArchive``. Every method may raise ``StoreUnavailable``."""

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self._database = database
        self._keys = keys

    async def register(
        self, row: EngagementRow, engagement: Engagement | None = None, asked: AdmissionRequest | None = None
    ) -> Registered:
        """Write the row, with the input sealed beside it, or find the one that is there.

        With ``asked`` the input's evidence of an opt-in is kept, and where no rule stands against the engagement it is
        admitted in the same transaction: the input says so then. Whatever is not plain is left for it to ask.

        Raises ``Conflict`` with the names of the fields whose fingerprints differ, ``NotAllowed`` when the person of
        this reference was erased or is being erased.
        """
        keyed = row.model_copy(update={"key_id": self._keys.current_id})

        def work(connection: Connection) -> Registered:
            known = _may_register(connection, keyed)
            admission = _admission(connection, asked) if asked is not None and known else None
            kept, values = engagement, keyed.model_dump()
            if admission is not None and kept is not None:
                kept = kept.model_copy(update={"admission": admission})
                values |= {"admitted_at": keyed.created_at, "admission_rule": "", "admission_reason": ""}
            values["input"] = None if kept is None else self._keys.seal(kept.model_dump_json().encode(), _INPUT)
            if insert_new(connection, engagements, values, key=["tenant", "reference"]):
                return Registered(EngagementRow.model_validate(values), created=True, engagement=kept)
            return Registered(_same(connection, keyed), created=False)

        return await self._database.write(work)

    async def get(self, tenant: str, reference: str) -> EngagementRow | None:
        """The row of one engagement; None when this tenant has none of this reference."""
        return await self._database.read(lambda connection: _one(connection, _named(tenant, reference)))

    async def find(self, workflow_id: str) -> EngagementRow | None:
        """The row of one engagement by its workflow id."""
        return await self._database.read(lambda connection: _one(connection, engagements.c.workflow_id == workflow_id))

    async def list(
        self, tenant: str, *, is_open: bool | None = None, line: str = "", before: str = "", limit: int = 50
    ) -> tuple[EngagementRow, ...]:
        """Rows of one tenant, newest first. ``before`` is the workflow id of the last row of the page before."""
        return await self._database.read(
            lambda connection: _page(connection, tenant, is_open=is_open, line=line, before=before, limit=limit)
        )

    async def open_of_job(
        self, tenant: str, job: str, *, after: str = "", limit: int = 100
    ) -> tuple[EngagementRow, ...]:
        """Open engagements of one job of a tenant, oldest first, those after the one of this workflow id."""
        return await self._database.read(lambda connection: _of_job(connection, (tenant, job), after, limit))

    async def open_of_contact(self, contact_id: str) -> tuple[EngagementRow, ...]:
        """Open engagements of one person, oldest first. One that was refused at its start is not open."""
        c = engagements.c
        wanted = (
            select(*_ROW)
            .where(c.contact_id == contact_id, c.closed_at.is_(None), func.coalesce(c.admission_rule, "") == "")
            .order_by(c.created_at, c.workflow_id)
        )
        rows = await self._database.read(lambda connection: connection.execute(wanted).mappings().all())
        return tuple(EngagementRow.model_validate(dict(row)) for row in rows)

    async def not_admitted(self, contact_id: str) -> tuple[str, ...]:
        """Workflow ids of open engagements of one person that wait to be admitted, oldest first."""
        this = {"contact": contact_id}
        return await self._database.read(lambda connection: tuple(connection.execute(_NOT_ADMITTED, this).scalars()))

    async def input_of(self, workflow_id: str) -> Engagement | None:
        """The input as it was registered; None when there is no such engagement or its input was not kept."""
        wanted = select(engagements.c.input).where(engagements.c.workflow_id == workflow_id)
        sealed = await self._database.read(lambda connection: connection.execute(wanted).scalar_one_or_none())
        return None if sealed is None else Engagement.model_validate_json(self._keys.open(sealed, _INPUT))

    async def unstarted(self, *, registered_before: datetime, limit: int) -> tuple[str, ...]:
        """Workflow ids of open rows that Temporal has not confirmed yet, oldest first."""
        wanted = (
            select(engagements.c.workflow_id)
            .where(
                engagements.c.started_at.is_(None),
                engagements.c.closed_at.is_(None),
                engagements.c.created_at < registered_before,
            )
            .order_by(engagements.c.created_at, engagements.c.workflow_id)
            .limit(limit)
        )
        return await self._database.read(lambda connection: tuple(connection.execute(wanted).scalars()))

    async def mark_started(self, workflow_id: str) -> bool:
        """Temporal knows this engagement; repeating is harmless. True when its person was erased meanwhile."""
        statement = (
            update(engagements)
            .where(engagements.c.workflow_id == workflow_id, engagements.c.started_at.is_(None))
            .values(started_at=bookkeeping_now())
        )
        gone = select(engagements.c.erased_at).where(engagements.c.workflow_id == workflow_id)

        def work(connection: Connection) -> bool:
            connection.execute(statement)
            return connection.execute(gone).scalar_one_or_none() is not None

        return await self._database.write(work)

    async def close(self, request: CloseRequest) -> None:
        """Write outcome and archive, which releases the contact; the first outcome stays. Repeating is harmless.

        Raises ``NotFound`` for an engagement that was never registered: there is no place to keep what it became.
        """
        archive = ArchivedEngagement(
            workflow_id=request.workflow_id,
            result=request.result,
            decisions=request.decisions,
            snapshot=request.snapshot,
            closed_at=request.at,
        )
        sealed = self._keys.seal(archive.model_dump_json().encode(), ARCHIVE_PURPOSE)
        kept = await self._database.write(lambda connection: _close(connection, request, sealed))
        if kept is not request.result.settlement.outcome:
            log.error(
                "second_outcome_ignored",
                workflow_id=request.workflow_id,
                kept=kept.value,
                ignored=request.result.settlement.outcome.value,
            )

    async def archive_of(self, tenant: str, reference: str) -> str | None:
        """An ``ArchivedEngagement`` as JSON; None while the engagement is open and where there is none."""
        wanted = select(engagements.c.archive).where(_named(tenant, reference))
        sealed = await self._database.read(lambda connection: connection.execute(wanted).scalar_one_or_none())
        return None if sealed is None else self._keys.open(sealed, ARCHIVE_PURPOSE).decode()


def _named(tenant: str, reference: str) -> ColumnElement[bool]:
    return and_(engagements.c.tenant == tenant, engagements.c.reference == reference)


def _one(connection: Connection, which: ColumnElement[bool]) -> EngagementRow | None:
    found = connection.execute(select(*_ROW).where(which)).mappings().one_or_none()
    return None if found is None else EngagementRow.model_validate(dict(found))


def _may_register(connection: Connection, row: EngagementRow) -> bool:
    """Lock the person. False when there is none; raises ``NotAllowed`` for one who is being erased."""
    known = lock_contact(connection, row.contact_id)  # whoever erases this person sees the row, or this sees the mark
    if is_marked_within(connection, row.contact_id):
        raise NotAllowed(f"The person of {row.reference} is being erased: nothing of theirs begins any more")
    return known


def _admission(connection: Connection, asked: AdmissionRequest) -> Admission | None:
    """The answer where it is a plain yes, with how the opening's template stands; None for any other."""
    if asked.consent is not None:
        record_consent_within(connection, asked.contact_id, asked.tenant, asked.consent)
    answer = judge_within(connection, asked, known=True)
    if not answer.admitted or asked.template is None:
        return answer if answer.admitted else None
    known = known_within(connection, asked.template.account, asked.template.template)
    return answer.model_copy(update={"template": may_leave_by(known, asked.at)})


def _same(connection: Connection, row: EngagementRow) -> EngagementRow:
    """The row that stands under this reference, for the same input."""
    existing = _one(connection, _named(row.tenant, row.reference))
    if existing is None:  # rows are never deleted
        raise NotFound(f"Engagement {row.workflow_id} vanished from the registry while it was being registered")
    if existing.erased_at is not None:
        raise NotAllowed(f"Reference {row.reference} is that of somebody who was erased: use a new reference")
    names = existing.fingerprints.keys() | row.fingerprints.keys()
    fields = sorted(name for name in names if existing.fingerprints.get(name) != row.fingerprints.get(name))
    if fields:
        raise Conflict(
            f"Reference {row.reference} is taken by an engagement with other input ({', '.join(fields)}): "
            "use a new reference, or send the same input",
            fields=fields,
        )
    return existing


def _page(
    connection: Connection, tenant: str, *, is_open: bool | None, line: str, before: str, limit: int
) -> tuple[EngagementRow, ...]:
    wanted = select(*_ROW).where(engagements.c.tenant == tenant)
    if is_open is not None:
        closed = engagements.c.closed_at
        wanted = wanted.where(closed.is_(None) if is_open else closed.is_not(None))
    if line:
        wanted = wanted.where(engagements.c.line == line)
    if before:
        last = _one(connection, and_(engagements.c.tenant == tenant, engagements.c.workflow_id == before))
        if last is None:
            return ()
        wanted = wanted.where(_older(last))
    wanted = wanted.order_by(engagements.c.created_at.desc(), engagements.c.workflow_id.desc()).limit(limit)
    return tuple(EngagementRow.model_validate(dict(row)) for row in connection.execute(wanted).mappings())


def _of_job(connection: Connection, job: tuple[str, str], after: str, limit: int) -> tuple[EngagementRow, ...]:
    c = engagements.c
    wanted = select(*_ROW).where(c.tenant == job[0], c.job == job[1], c.closed_at.is_(None))
    if after:
        last = _one(connection, c.workflow_id == after)
        if last is None:  # rows are never deleted
            return ()
        younger = and_(c.created_at == last.created_at, c.workflow_id > last.workflow_id)
        wanted = wanted.where(or_(c.created_at > last.created_at, younger))
    rows = connection.execute(wanted.order_by(c.created_at, c.workflow_id).limit(limit)).mappings()
    return tuple(EngagementRow.model_validate(dict(row)) for row in rows)


def _older(last: EngagementRow) -> ColumnElement[bool]:
    created = engagements.c.created_at
    return or_(
        created < last.created_at,
        and_(created == last.created_at, engagements.c.workflow_id < last.workflow_id),
    )


def _close(connection: Connection, request: CloseRequest, sealed: bytes) -> EngagementOutcome:
    """Write the outcome unless there is one. Returns the outcome that stands."""
    outcome = request.result.settlement.outcome
    this = {"engagement": request.workflow_id}
    values = {"outcome": outcome.value, "closed_at": request.at, "archive": sealed}
    written = connection.execute(_CLOSED, this | values)
    if written.rowcount == 1:
        return outcome
    kept = connection.execute(_OUTCOME, this).scalar_one_or_none()
    if kept is None:
        raise NotFound(f"Engagement {request.workflow_id} is not in the registry, so its outcome cannot be kept")
    return EngagementOutcome(kept)
