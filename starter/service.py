"""Start and operate engagements. The CLI and the REST routes call these functions and decide nothing themselves."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import structlog
from temporalio.client import Client

from domain import ids, names
from domain.admission import admission_request, template_question
from domain.ats import AtsEvent, AtsStatus
from domain.calls import Command, CommandResult, MarkAnswered, MigratePlan, NewPlan, ResolveSend
from domain.contacts import phone_alias
from domain.engagements import Engagement, EngagementRequest
from domain.errors import BadInput, EngineUnavailable, Mistake, NotAllowed, NotFound, RapportError, StoreUnavailable
from domain.migration import MigrationView
from domain.sends import LedgerEntry
from domain.topology import Topology
from starter import story, trace
from starter.engine import Engine, Live
from starter.interface import PAGE_LIMIT
from starter.looking_back import LookingBack
from starter.phones import country_of
from starter.requests import CapabilitiesOf, Fingerprints, ReconcileWaitOf, RequestCheck, fingerprints_of
from starter.views import EngagementPage, EngagementSummary, EngagementView, Started, Trace
from store.contacts import Contacts
from store.ledger import Ledger
from store.registry import EngagementRegistry, EngagementRow

log = structlog.get_logger()

HEAL_AFTER = timedelta(seconds=30)
"""How long a row may wait for its workflow before ``start_missing`` takes it up: longer than a start lasts."""


class EngagementService:
    """Everything that can be asked of engagements. ``client`` may be lazy."""

    def __init__(
        self,
        *,
        registry: EngagementRegistry,
        contacts: Contacts,
        ledger: Ledger,
        client: Client,
        topology: Topology,
        capabilities_of: CapabilitiesOf,
        reconcile_wait_of: ReconcileWaitOf,
        keys: Fingerprints,
    ) -> None:
        self._registry = registry
        self._contacts = contacts
        self._ledger = ledger
        self._engine = Engine(client)
        self._looking = LookingBack(registry, ledger, self._engine)
        self._check = RequestCheck(topology, capabilities_of, reconcile_wait_of)
        self._topology = topology
        self._keys = keys

    def mistakes(self, request: EngagementRequest, now: datetime) -> tuple[Mistake, ...]:
        """Everything wrong with a request, so that many can be checked before the first is started."""
        return self._check.mistakes(request, now)

    async def start(self, request: EngagementRequest, now: datetime) -> Started:
        """Start one engagement, once: the same request again finds the one that is there, running or ended.

        The registry row is written first, so a start that broke off between row and workflow is finished by the
        next call or by ``start_missing``. Raises ``BadInput`` with every mistake, ``Conflict`` when the reference is
        taken by other input, ``StoreUnavailable`` (nothing happened), ``EngineUnavailable`` (recorded, not started).
        """
        mistakes = self._check.mistakes(request, now)
        if mistakes:
            raise BadInput(mistakes)
        contact_id = await self._contacts.resolve([phone_alias(request.candidate.phone)])
        engagement = Engagement(
            tenant=request.tenant,
            reference=request.reference,
            contact_id=contact_id,
            candidate=request.candidate,
            country=country_of(request.candidate.phone),
            job=request.job,
            plan=request.plan,
            route=self._check.route(request),
            fallback=self._check.fallback(request),
            timing=self._check.timing(request),
            notify_ats=AtsEvent.CLOSED in self._told_of(request.tenant),
            ats_events=tuple(sorted(self._told_of(request.tenant) - {AtsEvent.CLOSED})),
            zone=self._check.zone(request, now),
            fewer_steps=True,
            requested_at=now,
        )
        row = EngagementRow(
            tenant=engagement.tenant,
            reference=engagement.reference,
            workflow_id=ids.engagement_workflow_id(engagement.tenant, engagement.reference),
            contact_id=contact_id,
            line=engagement.route.line,
            account=engagement.route.account,
            provider=engagement.route.provider,
            job=engagement.job,
            plan=engagement.plan.name,
            fingerprints=fingerprints_of(request, self._keys),
            created_at=now,
        )
        its = engagement.plan.opening
        opening = template_question(engagement, its.template, its.flow, now)
        asked = admission_request(engagement, row.workflow_id, now, template=opening)
        found, created, kept = await self._registry.register(row, engagement, asked)
        if created:
            await self._launch(found.workflow_id, kept or engagement)
        elif found.outcome is None and found.started_at is None:
            await self._launch_registered(found.workflow_id, otherwise=engagement)
        return _started(found, created=created)

    def fingerprint(self, text: str) -> str:
        """A keyed hash of text, to tell equal requests without keeping them."""
        return self._keys.fingerprint(text)

    async def start_missing(self, now: datetime, *, limit: int = PAGE_LIMIT) -> tuple[str, ...]:
        """Start what was registered but never reached Temporal: a start that a crash or an outage broke off.

        Gives the workflow ids that were started. Repeating is harmless; what cannot be started now is logged and
        left for the next call.
        """
        healed = []
        for workflow_id in await self._registry.unstarted(registered_before=now - HEAL_AFTER, limit=limit):
            try:
                await self._launch_registered(workflow_id)
            except RapportError as error:
                log.warning("engagement_not_started", workflow_id=workflow_id, error=str(error))
                continue
            healed.append(workflow_id)
        return tuple(healed)

    async def get(self, tenant: str, reference: str) -> EngagementView:
        """One engagement with its snapshot: asked of the workflow while open, from the archive when closed.

        When no worker answers, the registry alone is told, with a note. Raises ``NotFound``.
        """
        row = await self._row(tenant, reference)
        snapshot, note = await self._looking.snapshot(row)
        summary = _summary(row, None)
        if snapshot is not None and row.outcome is None:
            live = Live(stage=snapshot.stage, next_action_at=snapshot.until, needs_human=snapshot.needs_human)
            summary = _summary(row, live)
        return EngagementView(summary=summary, snapshot=snapshot, note=note)

    async def list(
        self, tenant: str, *, is_open: bool | None = None, line: str = "", cursor: str = "", limit: int = 50
    ) -> EngagementPage:
        """A page of a tenant's engagements, newest first. ``is_open`` None means open and closed.

        Raises ``BadInput`` for a limit outside 1 to 100.
        """
        if not 1 <= limit <= PAGE_LIMIT:
            raise BadInput([Mistake(f"must be from 1 to {PAGE_LIMIT}", field="limit")])
        before = ids.engagement_workflow_id(tenant, cursor) if cursor else ""
        rows = await self._registry.list(tenant, is_open=is_open, line=line, before=before, limit=limit + 1)
        shown, note, live = rows[:limit], "", dict[str, Live]()
        try:
            live = await self._engine.live([row.workflow_id for row in shown if row.outcome is None])
        except EngineUnavailable as error:
            note = f"stages are missing: {error}"
        return EngagementPage(
            engagements=tuple(_summary(row, live.get(row.workflow_id)) for row in shown),
            next_cursor=shown[-1].reference if len(rows) > limit else "",
            note=note,
        )

    async def stop(self, tenant: str, reference: str, command: Command) -> CommandResult:
        """End an engagement as STOPPED. Raises ``NotFound``, ``NotAllowed`` (it ended), ``EngineUnavailable``."""
        return await self._command(tenant, reference, names.STOP, command)

    async def hand_over(self, tenant: str, reference: str, command: Command) -> CommandResult:
        """End an engagement as HANDED_OVER: a person goes on. Raises like ``stop``."""
        return await self._command(tenant, reference, names.HAND_OVER, command)

    async def resend(self, tenant: str, reference: str, command: Command) -> CommandResult:
        """Send a step of unknown outcome once more; a person answers for the repeat. Raises like ``stop``."""
        return await self._command(tenant, reference, names.RESEND, command)

    async def ats_status(self, tenant: str, reference: str, command: AtsStatus) -> CommandResult:
        """Tell what became of an application: it ends as WITHDRAWN, a move is noted.

        One that was registered and not started yet is started first, so that it cannot miss the word. Raises like
        ``stop``, and ``BadInput`` for a status that is about another job.
        """
        row = await self._row(tenant, reference)
        if command.job and row.job and command.job != row.job:
            raise BadInput([Mistake("is another job than the engagement is about", field="job")])
        if row.outcome is None and row.started_at is None:
            await self._launch_registered(row.workflow_id)
        return await self._command(tenant, reference, names.ATS_STATUS, command)

    async def open_of_job(self, tenant: str, job: str, *, after: str, limit: int) -> Sequence[tuple[str, str]]:
        """References and workflow ids of a job's open engagements, oldest first; ``after`` is the last one before."""
        rows = await self._registry.open_of_job(tenant, job, after=after, limit=limit)
        return [(row.reference, row.workflow_id) for row in rows]

    async def pause(self, tenant: str, reference: str, command: Command) -> CommandResult:
        """Let nothing of an engagement leave until it is resumed. Raises like ``stop``."""
        return await self._command(tenant, reference, names.PAUSE, command)

    async def resume(self, tenant: str, reference: str, command: Command) -> CommandResult:
        """Go on after a pause. Raises like ``stop``."""
        return await self._command(tenant, reference, names.RESUME, command)

    async def mark_answered(self, tenant: str, reference: str, command: MarkAnswered) -> CommandResult:
        """End an engagement as COMPLETED with what a person says was answered. Raises like ``stop``."""
        return await self._command(tenant, reference, names.MARK_ANSWERED, command)

    async def may_migrate(self, tenant: str, reference: str, new: NewPlan) -> MigrationView:
        """Tell what going on by a new version of its plan would mean; changes nothing. Raises like ``stop``."""
        row = await self._row(tenant, reference)
        try:
            return await self._engine.may_migrate(row.workflow_id, new)
        except NotFound:
            raise NotAllowed(await self._why_closed(tenant, reference, names.MIGRATE_PLAN)) from None

    async def migrate_plan(self, tenant: str, reference: str, command: MigratePlan) -> CommandResult:
        """Let it go on by a new version of its plan. Raises like ``stop``, with every reason against it."""
        return await self._command(tenant, reference, names.MIGRATE_PLAN, command)

    async def must_know(self, tenant: str, references: Sequence[str]) -> None:
        """Raise ``NotFound`` when a tenant has not every one of these engagements."""
        unknown = [reference for reference in references if await self._registry.get(tenant, reference) is None]
        if unknown:
            raise NotFound(f"tenant {tenant} has no engagement {', '.join(map(ids.spoken, unknown))}")

    async def resolve_send(self, tenant: str, reference: str, command: ResolveSend) -> CommandResult:
        """Settle a send whose outcome is unknown. Raises like ``stop``, and ``BadInput`` for another's send key."""
        row = await self._row(tenant, reference)
        if not command.send_key.startswith(f"{row.workflow_id}/"):
            raise BadInput([Mistake("is not a send of this engagement", field="send_key")])
        return await self._command(tenant, reference, names.RESOLVE_SEND, command)

    async def sends(self, tenant: str, *, unknown: bool = False, limit: int = PAGE_LIMIT) -> Sequence[LedgerEntry]:
        """A tenant's sends; with ``unknown`` only those of which nobody knows whether they arrived.

        Each of the latter waits for ``resolve_send`` or ``resend``: neither a send that was resent nor one of an
        engagement that is over is among them.
        """
        return await (self._ledger.unsettled(tenant, limit) if unknown else self._ledger.list(None, tenant, limit))

    async def trace(self, tenant: str, reference: str) -> Trace:
        """Everything that happened: the decision log merged with Temporal's history, as far as each is still there.

        With it the same as a story, in words for people. Raises ``NotFound``.
        """
        seen = await self._looking.see(tenant, reference)
        decisions = trace.from_decisions(seen.snapshot.decisions if seen.snapshot is not None else ())
        history = await trace.from_history(seen.events, self._engine.summary_of)
        told = story.tell(seen.snapshot, history, datetime.now(UTC)) if seen.snapshot is not None else None
        return Trace(
            workflow_id=seen.row.workflow_id,
            story=told,
            entries=trace.merged(history, decisions),
            note="; ".join(seen.notes),
        )

    async def _launch(self, workflow_id: str, engagement: Engagement) -> None:
        started = await self._engine.start(engagement)
        try:
            if await self._registry.mark_started(workflow_id):  # nobody could carry it on
                await self._engine.break_off(workflow_id)
                raise NotAllowed("The person was erased while the engagement was being started: it was ended")
        except StoreUnavailable:  # it runs; without the mark it is only started once more, which finds it running
            log.warning("start_not_marked", workflow_id=workflow_id)
        log.info("engagement_started" if started else "engagement_ran_before", workflow_id=workflow_id)

    async def _launch_registered(self, workflow_id: str, otherwise: Engagement | None = None) -> None:
        """Start by the input that was registered; ``otherwise`` is equal to it in all that the caller gave."""
        engagement = await self._registry.input_of(workflow_id) or otherwise
        if engagement is None:
            raise NotFound(f"the input of {workflow_id} is not kept: it was erased")
        await self._launch(workflow_id, engagement)

    async def _row(self, tenant: str, reference: str) -> EngagementRow:
        return await self._looking.row(tenant, reference)

    async def _command(self, tenant: str, reference: str, name: str, command: Command) -> CommandResult:
        row = await self._row(tenant, reference)
        try:
            result = await self._engine.command(row.workflow_id, name, command)
        except NotFound:
            raise NotAllowed(await self._why_closed(tenant, reference, name)) from None
        log.info("command_given", workflow_id=row.workflow_id, command=name, command_id=command.command_id)
        return result

    async def _why_closed(self, tenant: str, reference: str, name: str) -> str:
        row = await self._row(tenant, reference)  # read again: it may have ended just now
        if row.outcome is None:
            return f"{name}: engagement {reference} does not run in Temporal: not started yet, or ended from outside"
        return f"{name}: the engagement {reference} has ended as {row.outcome.value}"

    def _told_of(self, tenant: str) -> frozenset[AtsEvent]:
        """What the tenant's system hears of."""
        known = self._topology.tenant(tenant)
        return frozenset() if known is None or known.ats is None else known.ats.events


def _started(row: EngagementRow, *, created: bool) -> Started:
    return Started(
        workflow_id=row.workflow_id,
        tenant=row.tenant,
        reference=row.reference,
        created=created,
        outcome=row.outcome,
    )


def _summary(row: EngagementRow, live: Live | None) -> EngagementSummary:
    told = live or Live()
    return EngagementSummary(
        workflow_id=row.workflow_id,
        tenant=row.tenant,
        reference=row.reference,
        plan=row.plan,
        line=row.line,
        registered_at=row.created_at,
        outcome=row.outcome,
        closed_at=row.closed_at,
        stage=told.stage,
        next_action_at=told.next_action_at,
        needs_human=told.needs_human,
    )
