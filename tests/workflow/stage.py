"""A stage for workflow tests: real server, real worker, real store, and a provider that follows a script."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.testing import TimeSkipper

from domain import names
from domain.admission import admission_request, template_question
from domain.calls import Command, CommandResult
from domain.caps import Caps
from domain.contacts import Candidate, Consent, phone_alias
from domain.engagements import Engagement, Route, Timing
from domain.events import EventBody, FlowRunChanged, FlowRunStatus, ProviderEvent, ProviderEvents, Ties
from domain.gates import GateSnapshot
from domain.ids import ENGAGEMENTS_QUEUE, engagement_workflow_id
from domain.outcomes import EngagementResult
from domain.plans import FlowRef, Opening, Plan, Silence, TemplateRef
from domain.ports import TemplateSpecifications
from domain.sends import TemplateReading, TemplateStatus
from domain.snapshot import EngagementSnapshot
from domain.topology import Account, Line, Tenant, Topology
from runtime.settings import WorkerSettings
from store.keys import KeyRing
from store.registry import EngagementRow
from store.stores import Stores
from tests.calendar import Calendar
from tests.databases import migrated_sqlite
from tests.workflow.scripted import HeardNotices, OneAccount, ScriptedProvider
from worker import Workers
from workflows import search_attributes as found_by
from workflows.engagement import EngagementWorkflow

TEMPLATE = TemplateRef(name="intake_v1", language="nl", id="template-1", variables=("first_name",))
NUDGE = TemplateRef(name="nudge_v1", language="nl", id="template-2")
FLOW = FlowRef(id="flow-1")
TIMING = Timing(
    reconcile_settle=timedelta(seconds=30),
    provider_pause=timedelta(minutes=10),
    failure_settle=timedelta(seconds=20),
    template_poll_ceiling=timedelta(hours=2),  # the looks of days at a gate take a test's time, and show nothing more
)
Handle = WorkflowHandle[Any, EngagementResult]
GateHandle = WorkflowHandle[Any, Any]


def plan(*, follow_ups: Sequence[object] = (), silence: str = "3d", then: str = "close", **more: object) -> Plan:
    """A plan with an opening flow; whatever else it has is given."""
    return Plan.model_validate(
        {
            "name": "intake",
            "opening": Opening(template=TEMPLATE, flow=FLOW),
            "follow_ups": tuple(follow_ups),
            "silence": Silence.model_validate({"after": silence, "then": then}),
            **more,
        }
    )


@dataclass
class Play:
    """One engagement on the stage."""

    stage: "Stage"
    handle: Handle
    engagement: Engagement
    told: int = 0

    async def tell(self, body: EventBody, *, key: str = "", send_key: str = "", **ties: str) -> None:
        """Let the provider tell something."""
        self.told += 1
        event = ProviderEvent(
            key=key or f"event-{self.told}",
            occurred_at=datetime.now(UTC),
            ties=Ties.model_validate(ties),
            send_key=send_key,
            body=body,
        )
        await self.handle.signal(names.PROVIDER_EVENTS, ProviderEvents(events=(event,)))

    async def finish_run(self, run_id: str = "run-1", **answers: str) -> None:
        """The candidate completes the flow, and the provider says so."""
        self.stage.provider.become(run_id, FlowRunStatus.FINISHED, **answers)
        await self.tell(FlowRunChanged(flow_run_status=FlowRunStatus.FINISHED), run_id=run_id)

    async def command(self, name: str, command_id: str = "c-1", **more: Any) -> CommandResult:
        """Give a command as an operator."""
        model = more.pop("model", Command)
        command = model(command_id=command_id, actor="olga", reason="because", **more)
        result: CommandResult = await self.handle.execute_update(
            name, command, id=command_id, result_type=CommandResult
        )
        return result

    async def snapshot(self) -> EngagementSnapshot:
        """Where it stands."""
        snapshot: EngagementSnapshot = await self.handle.query(names.SNAPSHOT, result_type=EngagementSnapshot)
        return snapshot

    async def gate_handle(self) -> GateHandle:
        """The gate at which it waits."""
        hold = (await self.snapshot()).hold
        assert hold is not None
        return self.stage.skipper.client.get_workflow_handle(hold.gate)

    async def gate(self) -> GateSnapshot:
        """Where the gate stands at which it waits."""
        handle = await self.gate_handle()
        snapshot: GateSnapshot = await handle.query(names.SNAPSHOT, result_type=GateSnapshot)
        return snapshot

    async def pass_time(self, length: timedelta) -> None:
        """Let time pass for this engagement."""
        await self.stage.calendar.pass_time(length, [self.handle])

    async def rest(self) -> None:
        """Let it come to rest."""
        await self.stage.calendar.quiet([self.handle])

    async def result(self) -> EngagementResult:
        """Its outcome."""
        return await self.handle.result()


@dataclass
class Stage:
    """Server, worker and store for the plays of one test."""

    skipper: TimeSkipper
    stores: Stores
    provider: ScriptedProvider
    ats: HeardNotices
    calendar: Calendar
    line: str
    workers: Workers
    topology: Topology
    accounts: OneAccount
    caps: dict[str, Caps]
    """What the worker reads at each send, by tenant: a test may change it."""
    played: list[Handle] = field(default_factory=list)

    async def play(
        self,
        its: Plan | None = None,
        *,
        phone: str = "+31612345678",
        consent: bool = True,
        by_earlier_release: bool = False,
        before_start: Callable[[Engagement], Awaitable[None]] | None = None,
        **more: Any,
    ) -> Play:
        """Register and start an engagement; ``by_earlier_release`` as one that knew the engagement to ask by itself."""
        reference = more.pop("reference", uuid.uuid4().hex[:12])
        now = datetime.now(UTC)
        contact_id = await self.stores.contacts.resolve([phone_alias(phone)])
        given = Consent(source="form", obtained_at=now) if consent else None
        engagement = Engagement(
            tenant="acme",
            reference=reference,
            contact_id=contact_id,
            candidate=Candidate(phone=phone, variables={"first_name": "Ada"}, consent=given),
            plan=its or plan(),
            route=Route(
                account=self.line,
                line=more.pop("line", self.line),
                provider="scripted",
                capabilities=self.provider.capabilities,
            ),
            timing=more.pop("timing", TIMING),
            notify_ats=more.pop("notify_ats", True),
            requested_at=more.pop("requested_at", now),
            fewer_steps=not by_earlier_release,
            **more,
        )
        engagement = await self._register(engagement, now, admits=not by_earlier_release)
        if before_start is not None:
            await before_start(engagement)
        handle = await self.skipper.client.start_workflow(
            EngagementWorkflow.run,
            args=[engagement, None],
            id=engagement_workflow_id("acme", reference),
            task_queue=ENGAGEMENTS_QUEUE,
            search_attributes=TypedSearchAttributes(
                [
                    SearchAttributePair(found_by.TENANT, engagement.tenant),
                    SearchAttributePair(found_by.LINE, engagement.route.line),
                    SearchAttributePair(found_by.PLAN, engagement.plan.name),
                ]
            ),
        )
        self.played.append(handle)
        return Play(self, handle, engagement)

    async def read_for_others(self, template: TemplateRef, at: datetime | None = None, **told: Any) -> None:
        """Let another engagement have read how a template stands, at ``at``, by default at the calendar's now."""
        its = {"template_status": TemplateStatus.APPROVED, "provider_id": template.id, **told}
        reading = TemplateReading.model_validate(its)
        await self.stores.templates.write(self.line, template, reading, at or self.calendar.now)

    async def _register(self, engagement: Engagement, now: datetime, *, admits: bool) -> Engagement:
        its = engagement.plan.opening
        opening = template_question(engagement, its.template, its.flow, self.calendar.now)
        row = EngagementRow(
            tenant=engagement.tenant,
            reference=engagement.reference,
            workflow_id=engagement_workflow_id(engagement.tenant, engagement.reference),
            contact_id=engagement.contact_id,
            line=engagement.route.line,
            account=engagement.route.account,
            provider=engagement.route.provider,
            job=engagement.job,
            plan=engagement.plan.name,
            fingerprints={"reference": engagement.reference},
            created_at=now,
        )
        asked = admission_request(engagement, row.workflow_id, self.calendar.now, template=opening)
        registered = await self.stores.registry.register(row, engagement, asked if admits else None)
        return registered.engagement or engagement


@asynccontextmanager
async def open_stage(
    skipper: TimeSkipper,
    directory: Path,
    provider: ScriptedProvider,
    *,
    engagements: bool = True,
    line_rate: float = 10_000,
    specifications: TemplateSpecifications | None = None,
) -> AsyncIterator[Stage]:
    """Open a store, start the workers of one account with one line; without ``engagements`` nobody runs workflows."""
    line = f"line-{uuid.uuid4().hex[:8]}"
    topology = Topology(
        tenants=(Tenant(slug="acme"),),
        accounts=(
            Account(
                slug=line, provider="scripted", credential="env:UNUSED", webhook_secrets=("env:UNUSED",), rate=10_000
            ),
        ),
        lines=(Line(slug=line, account=line, tenants=("acme",), rate=line_rate),),
    )
    async with AsyncExitStack() as stack:
        file = directory / "store.sqlite3"
        file.write_bytes(await asyncio.to_thread(migrated_sqlite))
        stores = await stack.enter_async_context(Stores.open(f"sqlite:///{file}", KeyRing.generate()))
        ats = HeardNotices()
        caps: dict[str, Caps] = {}
        accounts = OneAccount(provider)
        workers = Workers(skipper.client, stores, accounts, ats, WorkerSettings(), specifications, caps)
        if engagements:
            await stack.enter_async_context(workers.polling(topology))
        else:
            await stack.enter_async_context(workers.line(line, line_rate))
            await stack.enter_async_context(workers.lookups(line, 10_000))
        yield Stage(skipper, stores, provider, ats, Calendar(skipper), line, workers, topology, accounts, caps)
