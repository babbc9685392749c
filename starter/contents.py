"""What the payloads of a history say: what the candidate did, what became of messages, what operators gave."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from pydantic import BaseModel
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from domain import names
from domain.ats import AtsStatus
from domain.calls import Command, MarkAnswered, MigratePlan, Reconciled, ResolveSend
from domain.contacts import ContactChange
from domain.errors import SetupError
from domain.events import (
    FlowRunChanged,
    FormAnswered,
    MessageStatusChanged,
    OptInReceived,
    OptOutReceived,
    ProviderEvent,
    ProviderEvents,
    TextReceived,
)
from domain.export import ExportedStatus, Inbound, InboundFrom, OperatorAction
from domain.plans import Plan
from domain.sends import FlowRun

Kind = TypeVar("Kind", bound=BaseModel)

_COMMANDS: Mapping[str, type[Command]] = {
    names.STOP: Command,
    names.HAND_OVER: Command,
    names.PAUSE: Command,
    names.RESUME: Command,
    names.RESEND: Command,
    names.RESOLVE_SEND: ResolveSend,
    names.MARK_ANSWERED: MarkAnswered,
    names.MIGRATE_PLAN: MigratePlan,
    names.ATS_STATUS: AtsStatus,
}
_UNREADABLE = (SetupError, ValueError, KeyError)


class Opener(Protocol):
    """``starter.engine.Engine`` is one."""

    async def opened(self, payload: Payload, kind: type[Kind]) -> Kind | None:
        """What our code put there; None where the person was erased. Raises ``SetupError`` and ``ValueError``."""
        ...


@dataclass
class Contents:
    """What was read, in the order of the history."""

    inbound: list[Inbound] = field(default_factory=list)
    statuses: list[tuple[ProviderEvent, ExportedStatus]] = field(default_factory=list)
    """What the provider told of messages and runs, with the event that says of which."""
    actions: list[OperatorAction] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)
    """Versions that it was moved to."""
    unreadable: int = 0
    """Payloads that do not open, or are not what they should be; those of an erased person are not counted."""
    seen: set[str] = field(default_factory=set)

    def take(self, event: ProviderEvent, source: InboundFrom) -> None:
        """Take in what a webhook told, once."""
        if event.key in self.seen:
            return
        self.seen.add(event.key)
        self.statuses += [(event, status) for status in _statuses(event)]
        said = _said(event, source)
        if said is not None:
            self.inbound.append(said)


async def contents_of(events: Sequence[HistoryEvent], opener: Opener) -> Contents:
    """Open what people ask for: signals with webhooks, commands, and what the provider answered when it was asked."""
    reading = _Reading(opener)
    for event in events:
        try:
            await reading.read(event)
        except _UNREADABLE:
            reading.contents.unreadable += 1
    return reading.contents


class _Reading:
    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._activities: dict[int, str] = {}
        self.contents = Contents()

    async def read(self, event: HistoryEvent) -> None:
        match event.event_type:
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
                await self._signal(event)
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
                await self._command(event)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                scheduled = event.activity_task_scheduled_event_attributes
                self._activities[event.event_id] = scheduled.activity_type.name
            case EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                await self._answer(event)

    async def _signal(self, event: HistoryEvent) -> None:
        signal = event.workflow_execution_signaled_event_attributes
        if signal.signal_name == names.PROVIDER_EVENTS:
            batch = await self._opened(signal.input.payloads, ProviderEvents)
            for one in batch.events if batch is not None else ():
                self.contents.take(one, InboundFrom.HISTORY)
        elif signal.signal_name == names.CONTACT_CHANGED:
            change = await self._opened(signal.input.payloads, ContactChange)
            if change is not None and change.actor:
                reason = f"an opt-out of scope {change.opt_out.scope} was recorded"
                self._act(event, names.CONTACT_CHANGED, change.actor, reason, change.key)

    async def _command(self, event: HistoryEvent) -> None:
        asked = event.workflow_execution_update_accepted_event_attributes.accepted_request.input
        if asked.name not in _COMMANDS:
            return
        command = await self._opened(asked.args.payloads, _COMMANDS[asked.name])
        if command is None:
            return
        self._act(event, asked.name, command.actor, command.reason, command.command_id)
        if isinstance(command, MigratePlan):
            self.contents.plans.append(command.plan)
        if isinstance(command, MarkAnswered):
            said = Inbound(
                at=_at(event),
                kind=names.MARK_ANSWERED,
                source=InboundFrom.OPERATOR,
                text=command.text,
                answers=command.answers or None,
            )
            self.contents.inbound.append(said)

    async def _answer(self, event: HistoryEvent) -> None:
        done = event.activity_task_completed_event_attributes
        run: FlowRun | None = None
        match self._activities.get(done.scheduled_event_id):
            case names.CHECK_FLOW_RUN:
                run = await self._opened(done.result.payloads, FlowRun)
            case names.RECONCILE_SEND:
                reconciled = await self._opened(done.result.payloads, Reconciled)
                run = reconciled.run if reconciled is not None else None
        if run is not None and run.answers:
            said = Inbound(
                at=_at(event),
                kind="flow-run",
                source=InboundFrom.LOOKUP,
                answers=run.answers,
                flow_run_status=run.flow_run_status,
            )
            self.contents.inbound.append(said)

    async def _opened(self, payloads: Sequence[Payload], kind: type[Kind]) -> Kind | None:
        return await self._opener.opened(payloads[0], kind) if payloads else None

    def _act(self, event: HistoryEvent, what: str, actor: str, reason: str, command_id: str) -> None:
        action = OperatorAction(at=_at(event), what=what, actor=actor, reason=reason, command_id=command_id)
        self.contents.actions.append(action)


def _at(event: HistoryEvent) -> datetime:
    return event.event_time.ToDatetime(tzinfo=UTC)


def _statuses(event: ProviderEvent) -> Iterator[ExportedStatus]:
    at, body = event.occurred_at, event.body
    if isinstance(body, MessageStatusChanged):
        yield ExportedStatus(at=at, status=body.message_status, word=body.raw_status, codes=body.codes)
    if isinstance(body, FlowRunChanged):
        yield ExportedStatus(at=at, status=body.flow_run_status, word=body.raw_status)


def _said(event: ProviderEvent, source: InboundFrom) -> Inbound | None:
    """What the candidate said or did in this event; None where it is not theirs."""
    body, told = event.body, Inbound(at=event.occurred_at, kind=event.body.kind, source=source, send_key=event.send_key)
    match body:
        case TextReceived():
            return told.model_copy(update={"text": body.text, "payload": body.payload})
        case FormAnswered():
            return told.model_copy(update={"answers": body.answers, "text": body.raw})
        case OptOutReceived() | OptInReceived():
            return told.model_copy(update={"text": body.text})
        case FlowRunChanged() if body.answers or body.cancelled_by_candidate:
            return told.model_copy(update={"answers": body.answers or None, "flow_run_status": body.flow_run_status})
    return None
