"""Recorded journeys in a store, as they stand after their end, beside a Temporal that may have lost them."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from pydantic import BaseModel
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory

from domain import ids
from domain.calls import CloseRequest
from domain.contacts import phone_alias
from domain.engagements import Engagement
from domain.errors import EngineUnavailable, NotFound, SetupError
from domain.export import EngagementExport
from domain.outcomes import EngagementResult
from domain.sends import LedgerState, Send, SendReceipt
from domain.snapshot import EngagementSnapshot, SendView
from starter.engine import Engine
from starter.exporting import ExportService
from starter.looking_back import LookingBack
from store.inbox_desk import InboxDesk
from store.registry import EngagementRow
from store.stores import Stores
from tests.stories.telling import CONVERTER, HISTORIES, snapshot_of
from tests.unit.starter.world import KEYS

THREAD = "thread-of-the-person"
Kind = TypeVar("Kind", bound=BaseModel)


class Recorded(Engine):
    """Temporal as it was when a journey was recorded, unless it has ``lost`` it, or the person was ``erased``."""

    def __init__(self, events: Sequence[HistoryEvent]) -> None:
        self._events = events
        self.lost = self.erased = self.keyless = False

    async def history(self, workflow_id: str) -> list[HistoryEvent]:
        if self.lost:
            raise NotFound("Temporal could not read the history: it knows no such engagement")
        return list(self._events)

    async def snapshot(self, workflow_id: str) -> EngagementSnapshot:
        raise EngineUnavailable("Temporal could not ask the engagement: is a worker running?")

    async def opened(self, payload: Payload, kind: type[Kind]) -> Kind | None:
        if self.keyless:
            raise SetupError("the key is not given here")
        assert not self.erased, "nothing is opened of somebody who was erased"
        (value,) = await CONVERTER.decode([payload], [kind])
        return kind.model_validate(value)

    async def summary_of(self, event: HistoryEvent) -> str:
        return ""


class Told:
    """A recorded journey in a store, as it stands after its end."""

    def __init__(self, stores: Stores, engine: Recorded, engagement: Engagement) -> None:
        self.stores, self.engine = stores, engine
        self.reference, self.contact_id = engagement.reference, engagement.contact_id
        looking = LookingBack(stores.registry, stores.ledger, engine)
        self.service = ExportService(looking, stores.contacts, InboxDesk(stores.database, stores.keys))

    async def export(self) -> EngagementExport:
        return await self.service.export("acme", self.reference)

    @property
    def workflow_id(self) -> str:
        return ids.engagement_workflow_id("acme", self.reference)


@asynccontextmanager
async def told(url: str, journey: str) -> AsyncIterator[Told]:
    """The journey, registered and archived as it was."""
    text = (HISTORIES / f"{journey}.json").read_text()
    started = json.loads(text)["events"][0]["workflowExecutionStartedEventAttributes"]
    history = WorkflowHistory.from_json(started["workflowId"], text)
    first = history.events[0].workflow_execution_started_event_attributes.input.payloads[0]
    (engagement,) = await CONVERTER.decode([first], [Engagement])
    async with Stores.open(url, KEYS) as stores:
        contact_id = await stores.contacts.resolve([phone_alias(engagement.candidate.phone)])
        engagement = engagement.model_copy(update={"contact_id": contact_id})
        await _registered(stores, engagement, await snapshot_of(history))
        yield Told(stores, Recorded(history.events), engagement)


async def _registered(stores: Stores, engagement: Engagement, snapshot: EngagementSnapshot) -> None:
    route = engagement.route
    row = EngagementRow(
        tenant="acme",
        reference=engagement.reference,
        workflow_id=snapshot.workflow_id,
        contact_id=engagement.contact_id,
        line=route.line,
        account=route.account,
        provider=route.provider,
        plan=engagement.plan.name,
        fingerprints={"all": "1"},
        created_at=engagement.requested_at,
    )
    consent = engagement.candidate.consent
    if consent is not None:
        await stores.contacts.record_consent(engagement.contact_id, "acme", consent)
    await stores.registry.register(row, engagement)
    for view in snapshot.sends:
        await _sent(stores, engagement, view)
    end = snapshot.settlement
    if end is None:
        return
    close = CloseRequest(
        workflow_id=snapshot.workflow_id,
        contact_id=engagement.contact_id,
        result=EngagementResult(tenant="acme", reference=engagement.reference, settlement=end, sends=1),
        decisions=snapshot.decisions,
        snapshot=snapshot.model_dump_json(),
        at=end.at,
    )
    await stores.registry.close(close)


async def _sent(stores: Stores, engagement: Engagement, view: SendView) -> None:
    send = Send(
        key=view.key,
        workflow_id=ids.engagement_workflow_id("acme", engagement.reference),
        tenant="acme",
        account=engagement.route.account,
        line=engagement.route.line,
        step=view.step,
        n=view.n,
        contact_id=engagement.contact_id,
        address=engagement.candidate.phone,
        template=engagement.plan.opening.template.model_copy(update={"name": view.template}),
        at=view.at,
    )
    claim = await stores.ledger.claim(send)
    receipt = SendReceipt(run_id=view.run_id, message_id=view.message_id, thread_id=THREAD)
    await stores.ledger.settle(claim, LedgerState.SENT, receipt, None, view.at)
