"""Tells what happened to an engagement: its own decisions and Temporal's history as one list, in order of time."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from domain.outcomes import Decision
from starter.views import TraceEntry, TraceSource

TIMER_STARTED = "timer started"
FOR = ", for "
"""What stands between a timer's name and its length."""
SummaryOf = Callable[[HistoryEvent], Awaitable[str]]
"""The summary that our code gave to an event; empty when it gave none."""


def from_decisions(decisions: Sequence[Decision]) -> list[TraceEntry]:
    """The decision log as lines of a trace."""
    return [
        TraceEntry(at=d.at, source=TraceSource.DECISION, what=d.rule, text=d.text, actor=d.actor) for d in decisions
    ]


async def from_history(events: Sequence[HistoryEvent], summary_of: SummaryOf) -> list[TraceEntry]:
    """What a person wants to know of a history: starts, activities, timers, signals, updates and ends.

    Never holds the input or the result of anything.
    """
    reading = _Reading(summary_of)
    return [entry for event in events if (entry := await reading.entry(event)) is not None]


def merged(*parts: Sequence[TraceEntry]) -> tuple[TraceEntry, ...]:
    """One list in order of time; at the same instant the first part goes first."""
    return tuple(sorted((entry for part in parts for entry in part), key=lambda entry: entry.at))


class _Reading:
    """Remembers what started each activity and timer, so that their ends can be told by name."""

    def __init__(self, summary_of: SummaryOf) -> None:
        self._summary_of = summary_of
        self._names: dict[int, str] = {}

    async def entry(self, event: HistoryEvent) -> TraceEntry | None:
        summary = await self._summary_of(event)
        told = self._begun(event, summary) or self._ended(event) or _message(event, summary) or _of_run(event)
        if told is None:
            return None
        what, text = told
        seconds = event.event_time.seconds + event.event_time.nanos / 1e9
        at = datetime.fromtimestamp(seconds, UTC)
        return TraceEntry(at=at, source=TraceSource.HISTORY, what=what, text=text, until=_until(event, at))

    def _begun(self, event: HistoryEvent, summary: str) -> tuple[str, str] | None:
        match event.event_type:
            case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                scheduled = event.activity_task_scheduled_event_attributes
                name = _named(scheduled.activity_type.name, summary)
                self._names[event.event_id] = name
                return "activity scheduled", f"{name} on {scheduled.task_queue.name}"
            case EventType.EVENT_TYPE_TIMER_STARTED:
                timer = event.timer_started_event_attributes
                self._names[event.event_id] = summary or f"timer {timer.timer_id}"
                lasts = timedelta(seconds=round(timer.start_to_fire_timeout.ToTimedelta().total_seconds()))
                return TIMER_STARTED, f"{self._names[event.event_id]}{FOR}{lasts}"
        return None

    def _ended(self, event: HistoryEvent) -> tuple[str, str] | None:
        match event.event_type:
            case EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                return "activity completed", self._name(event.activity_task_completed_event_attributes)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED:
                failed = event.activity_task_failed_event_attributes
                kind = failed.failure.application_failure_info.type or "failure"
                return "activity failed", f"{self._name(failed)}: {kind}"
            case EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
                return "activity timed out", self._name(event.activity_task_timed_out_event_attributes)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
                return "activity cancelled", self._name(event.activity_task_canceled_event_attributes)
            case EventType.EVENT_TYPE_TIMER_FIRED:
                fired = event.timer_fired_event_attributes
                return "timer fired", self._names.get(fired.started_event_id, fired.timer_id)
            case EventType.EVENT_TYPE_TIMER_CANCELED:
                timer = event.timer_canceled_event_attributes
                return "timer cancelled", self._names.get(timer.started_event_id, timer.timer_id)
        return None

    def _name(self, ended: "_EndOfActivity") -> str:
        return self._names.get(ended.scheduled_event_id, f"activity {ended.scheduled_event_id}")


def _until(event: HistoryEvent, at: datetime) -> datetime | None:
    if event.event_type != EventType.EVENT_TYPE_TIMER_STARTED:
        return None
    return at + event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta()


class _EndOfActivity(Protocol):
    """What every end of an activity tells."""

    @property
    def scheduled_event_id(self) -> int:
        """The event that scheduled it."""
        ...


def _message(event: HistoryEvent, summary: str) -> tuple[str, str] | None:
    match event.event_type:
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
            return "signal", _named(event.workflow_execution_signaled_event_attributes.signal_name, summary)
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
            request = event.workflow_execution_update_accepted_event_attributes.accepted_request
            return "command accepted", _named(request.input.name, request.meta.update_id)
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED:
            meta = event.workflow_execution_update_completed_event_attributes.meta
            return "command completed", meta.update_id
    return None


def _of_run(event: HistoryEvent) -> tuple[str, str] | None:
    match event.event_type:
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
            started = event.workflow_execution_started_event_attributes
            if started.continued_execution_run_id:
                return "continued", "a fresh run with carried state"
            return "started", started.workflow_type.name
        case EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            return "workflow task failed", "a defect: the worker's log tells more; tried again until fixed code arrives"
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
            return "closed", "the workflow returned its outcome"
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
            return "failed", "the workflow failed: a defect"
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
            return "cancelled", "the workflow was cancelled from outside"
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
            return "terminated", "an operator terminated the workflow"
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
            return "timed out", "the workflow ran out of its own time"
    return None


def _named(name: str, summary: str) -> str:
    return f"{name} ({summary})" if summary else name
