"""Reads one engagement from wherever it still is: the workflow, the archive, the send ledger, Temporal's history."""

from dataclasses import dataclass

import structlog
from pydantic import ValidationError
from temporalio.api.history.v1 import HistoryEvent

from domain.engagements import Engagement
from domain.errors import EngineUnavailable, NotFound
from domain.ids import spoken
from domain.outcomes import EngagementOutcome, Settlement
from domain.sends import LedgerEntry
from domain.snapshot import EngagementSnapshot, SendView
from domain.state import Stage
from starter.engine import Engine
from store.ledger import Ledger
from store.registry import ArchivedEngagement, EngagementRegistry, EngagementRow

MOST_SENDS = 1000
"""Of one engagement: more than any plan sends."""
NO_LOG = "the decision log is not kept any more"

log = structlog.get_logger()


@dataclass(frozen=True)
class Seen:
    """One engagement as far as it can be read. ``notes`` say what could not be, and why."""

    row: EngagementRow
    snapshot: EngagementSnapshot | None
    """What it says, or said, of itself; of an ended one that does not any more, what is left of it."""
    is_whole: bool
    """Whether it is the snapshot that the engagement made."""
    events: tuple[HistoryEvent, ...]
    """Of all runs, oldest first; none once Temporal has forgotten them."""
    has_history: bool
    notes: tuple[str, ...]


class LookingBack:
    """Methods raise ``StoreUnavailable``; that Temporal does not answer is told in the notes."""

    def __init__(self, registry: EngagementRegistry, ledger: Ledger, engine: Engine) -> None:
        self._registry, self._ledger, self._engine = registry, ledger, engine

    @property
    def engine(self) -> Engine:
        """Opens what the events hold."""
        return self._engine

    async def row(self, tenant: str, reference: str) -> EngagementRow:
        """What the registry has. Raises ``NotFound`` for what is not this tenant's."""
        row = await self._registry.get(tenant, reference)
        if row is None:
            raise NotFound(f"tenant {tenant} has no engagement {spoken(reference)}")
        return row

    async def input_of(self, row: EngagementRow) -> Engagement | None:
        """What it was started with; None once that is not kept any more."""
        return await self._registry.input_of(row.workflow_id)

    async def sends_of(self, row: EngagementRow) -> tuple[LedgerEntry, ...]:
        """Its rows in the send ledger."""
        return await self._ledger.list(workflow_id=row.workflow_id, limit=MOST_SENDS)

    async def snapshot(self, row: EngagementRow) -> tuple[EngagementSnapshot | None, str]:
        """Its snapshot: asked of the workflow while open, from the archive when ended; or why there is none."""
        if row.erased_at is not None:
            return None, "the candidate was erased: the decision log is all that is kept"
        if row.outcome is not None:
            return await self._archived(row)
        try:
            return await self._engine.snapshot(row.workflow_id), ""
        except NotFound:
            return None, "registered, but Temporal has not started it yet: starting it again with the same input does"
        except EngineUnavailable as error:
            return None, f"only the registry is shown: {error}"

    async def see(self, tenant: str, reference: str) -> Seen:
        """Everything that can be read of it. Raises ``NotFound``."""
        row = await self.row(tenant, reference)
        snapshot, note = await self.snapshot(row)
        is_whole = snapshot is not None
        if snapshot is None and row.outcome is not None:
            snapshot = await self._remains(row, row.outcome)
        notes = [note] if note else []
        events: list[HistoryEvent] = []
        has_history = True
        try:
            events = await self._engine.history(row.workflow_id)
        except (NotFound, EngineUnavailable) as error:
            has_history = False
            notes.append(f"Temporal's history is missing: {error}")
        return Seen(row, snapshot, is_whole, tuple(events), has_history, tuple(notes))

    async def _archived(self, row: EngagementRow) -> tuple[EngagementSnapshot | None, str]:
        archive = await self._archive(row)
        if archive is None:
            kept = await self._registry.archive_of(row.tenant, row.reference) is not None
            why = "cannot be read by this release" if kept else "is past its retention"
            return None, f"the archive of this engagement {why}"
        if not archive.snapshot:
            return None, "the answers are past their retention: the decision log is all that is kept"
        try:
            return EngagementSnapshot.model_validate_json(archive.snapshot), ""
        except ValidationError:
            log.error("archived_snapshot_unreadable", workflow_id=row.workflow_id)  # noqa: TRY400 its text may hold answers
            return None, "the archive of this engagement cannot be read by this release"

    async def _archive(self, row: EngagementRow) -> ArchivedEngagement | None:
        kept = await self._registry.archive_of(row.tenant, row.reference)
        if kept is None:
            return None
        try:
            return ArchivedEngagement.model_validate_json(kept)
        except ValidationError:
            log.error("archive_unreadable", workflow_id=row.workflow_id)  # noqa: TRY400 its text may hold answers
            return None

    async def _remains(self, row: EngagementRow, outcome: EngagementOutcome) -> EngagementSnapshot:
        """What is left of an ended engagement, in the form in which a story is told."""
        archive, at = await self._archive(row), row.closed_at or row.created_at
        gone = Settlement(outcome=outcome, rule="", reason=NO_LOG, at=at)
        return EngagementSnapshot(
            workflow_id=row.workflow_id,
            tenant=row.tenant,
            reference=row.reference,
            plan=row.plan,
            started_at=row.started_at,
            line=row.line,
            provider=row.provider,
            stage=Stage.CLOSED.value,
            sends=tuple(_send(entry, row) for entry in await self.sends_of(row)),
            decisions=() if archive is None else archive.decisions,
            settlement=gone if archive is None else archive.result.settlement,
        )


def _send(entry: LedgerEntry, row: EngagementRow) -> SendView:
    return SendView(
        key=entry.key,
        step=entry.step,
        n=entry.n,
        template=entry.template,
        form=entry.form,
        send_state=entry.state,
        reference=entry.reference,
        run_id=entry.run_id,
        message_id=entry.message_id,
        at=entry.claimed_at or row.created_at,
    )
