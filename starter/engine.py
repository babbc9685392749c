"""Temporal as the service uses it: start once, ask, command, look back. Only here do its errors become ours."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TypeVar

from pydantic import BaseModel
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import (
    Client,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import (
    Priority,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from domain import ids, names
from domain.audit import ERASED_TEXT, AuditLine, summary
from domain.calls import Command, CommandResult, NewPlan
from domain.contacts import ContactChange
from domain.engagements import Engagement
from domain.errors import BadInput, EngineUnavailable, Erased, Mistake, NotAllowed, NotAnswered, NotFound
from domain.following import spoken
from domain.migration import MigrationView
from domain.model import Model
from domain.snapshot import EngagementSnapshot
from workflows import search_attributes as found_by

Opened = TypeVar("Opened", bound=BaseModel)

OPENING_STAGE = "admitting"
START_TIME = timedelta(seconds=5)
QUERY_TIME = timedelta(seconds=2)
ERASED_REASON = "the person was erased"
UPDATE_TIME = timedelta(seconds=10)
_READ_TIME = timedelta(seconds=5)


class Live(Model):
    """What Temporal's list says of an open engagement; a second or two behind."""

    stage: str = ""
    next_action_at: datetime | None = None
    needs_human: bool = False


class Engine:
    """One Temporal client, lazy or not. Every method raises ``EngineUnavailable`` when nobody answers."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def start(self, engagement: Engagement) -> bool:
        """Start the engagement unless it runs or ran; False when it ran and ended. Repeating is harmless."""
        route, plan = engagement.route, engagement.plan
        with _answers("start the engagement", "the engagement is recorded and starts when Temporal answers again"):
            try:
                await self._client.start_workflow(
                    names.CANDIDATE_ENGAGEMENT,
                    args=[engagement, None],
                    id=ids.engagement_workflow_id(engagement.tenant, engagement.reference),
                    task_queue=ids.ENGAGEMENTS_QUEUE,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                    static_summary=summary(f"{plan.name} on {route.line}, template {plan.opening.template.name}"),
                    static_details=AuditLine(_details(engagement)),
                    search_attributes=_attributes(engagement),
                    priority=Priority(fairness_key=engagement.tenant),
                    rpc_timeout=START_TIME,
                )
            except WorkflowAlreadyStartedError:
                return False
        return True

    async def snapshot(self, workflow_id: str) -> EngagementSnapshot:
        """Ask the workflow itself, which needs a worker. Raises ``NotFound`` when Temporal does not know it."""
        with _answers("ask the engagement", "is a worker running?"):
            try:
                answer: EngagementSnapshot = await self._client.get_workflow_handle(workflow_id).query(
                    names.SNAPSHOT, result_type=EngagementSnapshot, rpc_timeout=QUERY_TIME
                )
            except WorkflowQueryFailedError as error:
                raise EngineUnavailable(
                    f"the engagement {workflow_id} did not answer its query: see the worker's log"
                ) from error
        return answer

    async def may_migrate(self, workflow_id: str, new: NewPlan) -> MigrationView:
        """Ask the workflow what going on by this plan would mean. Raises ``NotFound`` as ``snapshot`` does."""
        with _answers("ask the engagement", "is a worker running?"):
            try:
                answer: MigrationView = await self._client.get_workflow_handle(workflow_id).query(
                    names.MAY_MIGRATE, new, result_type=MigrationView, rpc_timeout=QUERY_TIME
                )
            except WorkflowQueryFailedError as error:
                raise EngineUnavailable(
                    f"the engagement {workflow_id} did not answer what the new plan would mean: see the worker's log; "
                    "a worker of an earlier release cannot"
                ) from error
        return answer

    async def command(self, workflow_id: str, update: str, command: Command) -> CommandResult:
        """Give an operator's command. The command id makes a repeat return the first result.

        Raises ``NotAllowed`` when the engagement refuses, ``NotFound`` when Temporal knows no open run, and
        ``NotAnswered`` when Temporal answers and the engagement does not.
        """
        repeat = f"it may still be carried out; repeat it with the same command id {command.command_id}"
        with _answers(f"carry out {update}", repeat):
            try:
                result: CommandResult = await self._client.get_workflow_handle(workflow_id).execute_update(
                    update, command, id=command.command_id, result_type=CommandResult, rpc_timeout=UPDATE_TIME
                )
            except WorkflowUpdateFailedError as error:
                if isinstance(error.cause, ApplicationError) and error.cause.type == names.NOT_ALLOWED:
                    raise NotAllowed(error.cause.message) from None
                kind = getattr(error.cause, "type", None) or type(error.cause).__name__
                raise NotAnswered(f"the engagement could not carry out {update} ({kind}): {repeat}") from error
            except WorkflowUpdateRPCTimeoutOrCancelledError as error:
                if isinstance(error.__cause__, asyncio.CancelledError):  # we were cancelled: that is no answer
                    raise asyncio.CancelledError from None
                raise NotAnswered(f"no worker answered {update} in time: {repeat}") from None
        return result

    async def is_open(self, workflow_id: str) -> bool:
        """Whether Temporal has an open run of it. Its word to the tenant's system is part of the run."""
        try:
            with _answers("look at the engagement", "try again"):
                seen = await self._client.get_workflow_handle(workflow_id).describe(rpc_timeout=QUERY_TIME)
        except NotFound:
            return False
        return seen.close_time is None  # also where somebody paused it

    async def break_off(self, workflow_id: str) -> None:
        """End a run that nobody can carry on: its person was erased while it was being started. Harmless when over."""
        try:
            with _answers("end the engagement", "try again"):
                await self._client.get_workflow_handle(workflow_id).terminate(ERASED_REASON, rpc_timeout=START_TIME)
        except NotFound:
            return

    async def contact_changed(self, workflow_id: str, change: ContactChange) -> bool:
        """Tell an engagement that its contact opted out elsewhere; False when it is over. Repeating is harmless."""
        try:
            with _answers("tell the engagement", "its next message is refused all the same; repeat the command"):
                await self._client.get_workflow_handle(workflow_id).signal(
                    names.CONTACT_CHANGED, change, rpc_timeout=START_TIME
                )
        except (Erased, NotFound):
            return False
        return True

    async def live(self, workflow_ids: Sequence[str]) -> dict[str, Live]:
        """Stage, next action and need of a person for those of these engagements that are open."""
        if not workflow_ids:
            return {}
        listed = ", ".join(f"'{workflow_id}'" for workflow_id in workflow_ids)
        seen: dict[str, Live] = {}
        with _answers("list engagements", "try again"):
            runs = self._client.list_workflows(
                f"WorkflowId IN ({listed}) AND ExecutionStatus = 'Running'", rpc_timeout=QUERY_TIME
            )
            async for run in runs:
                known = run.typed_search_attributes
                seen[run.id] = Live(
                    stage=known.get(found_by.STAGE) or "",
                    next_action_at=known.get(found_by.NEXT_ACTION_AT),
                    needs_human=bool(known.get(found_by.NEEDS_HUMAN)),
                )
        return seen

    async def matching(self, query: str) -> tuple[str, ...]:
        """Ids of every workflow that the query finds; Temporal's list is a second or two behind.

        Raises ``BadInput`` for a query that Temporal does not understand.
        """
        with _answers("list engagements", "try again"):
            try:
                return tuple([run.id async for run in self._client.list_workflows(query, rpc_timeout=_READ_TIME)])
            except RPCError as error:
                if error.status is not RPCStatusCode.INVALID_ARGUMENT:
                    raise
                raise BadInput([Mistake(f"Temporal does not understand the query: {error.message}")]) from None

    async def history(self, workflow_id: str) -> list[HistoryEvent]:
        """Every event of every run of the chain, oldest first. Raises ``NotFound`` once Temporal has forgotten it."""
        chain: list[list[HistoryEvent]] = []
        run_id: str | None = None
        with _answers("read the history", "try again"):
            while True:
                try:
                    events = await self._run_events(workflow_id, run_id)
                except NotFound:
                    if chain:
                        break  # an earlier run is past its retention, the later ones are not
                    raise
                chain.append(events)
                run_id = events[0].workflow_execution_started_event_attributes.continued_execution_run_id
                if not run_id:
                    break
        return [event for events in reversed(chain) for event in events]

    async def _run_events(self, workflow_id: str, run_id: str | None) -> list[HistoryEvent]:
        handle = self._client.get_workflow_handle(workflow_id, run_id=run_id)
        with _answers("read the history", "try again"):
            return [event async for event in handle.fetch_history_events(rpc_timeout=_READ_TIME)]

    async def opened(self, payload: Payload, kind: type[Opened]) -> Opened | None:
        """What our code put into a history; None where it was the person's and they were erased.

        Raises ``SetupError`` for a key that is not given here, ``ValueError`` for what is not of this kind.
        """
        try:
            (value,) = await self._client.data_converter.decode([payload], [kind])
        except Erased:
            return None
        except RuntimeError as error:  # Temporal's converter, around the reason
            raise ValueError(f"a payload of the history is no {kind.__name__}") from error
        return kind.model_validate(value)

    async def summary_of(self, event: HistoryEvent) -> str:
        """The one-line summary that our code gave to this event; empty when there is none or it cannot be opened."""
        if not event.user_metadata.HasField("summary"):
            return ""
        converter = self._client.data_converter
        try:
            (text,) = await converter.decode([event.user_metadata.summary], [str])
        except Erased:
            return ERASED_TEXT
        return str(text)


@contextmanager
def _answers(what: str, advice: str) -> Iterator[None]:
    """Only around calls of the client: a lazy client that cannot connect raises a plain ``RuntimeError``."""
    try:
        yield
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            raise NotFound(f"Temporal could not {what}: it knows no such engagement, or none that is open") from None
        raise EngineUnavailable(f"Temporal could not {what} ({error.status.name.lower()}): {advice}") from error
    except RuntimeError as error:
        raise EngineUnavailable(f"Temporal could not {what} (no connection): {advice}") from error


def _attributes(engagement: Engagement) -> TypedSearchAttributes:
    route, job = engagement.route, found_by.findable_job(engagement.job, engagement.candidate.phone)
    return TypedSearchAttributes(
        [
            SearchAttributePair(found_by.STAGE, OPENING_STAGE),
            SearchAttributePair(found_by.TENANT, engagement.tenant),
            SearchAttributePair(found_by.LINE, route.line),
            SearchAttributePair(found_by.PROVIDER, route.provider),
            SearchAttributePair(found_by.PLAN, engagement.plan.name),
            SearchAttributePair(found_by.NEEDS_HUMAN, value=False),
            *([SearchAttributePair(found_by.JOB, job)] if job else []),
        ]
    )


def _details(engagement: Engagement) -> str:
    """Who, by reference; by which plan, where, with which templates, and when it ends at the latest. No person."""
    plan, opening = engagement.plan, engagement.plan.opening.template
    job = found_by.findable_job(engagement.job, engagement.candidate.phone)
    silence = f"{plan.silence.then.value} after {spoken(plan.silence.after)} of silence"
    lines = [
        f"- reference: {engagement.reference}",
        f"- tenant: {engagement.tenant}",
        *([f"- job: {job}"] if job else []),
        f"- contact: {engagement.contact_id}",
        f"- plan: {plan.name}, begun by version {plan.version}",
        f"- line: {engagement.route.line} on account {engagement.route.account} ({engagement.route.provider})",
        f"- opening: template {opening.name} ({opening.language})",
        *(
            f"- follow-up {place}: template {one.template.name} ({one.template.language})"
            for place, one in enumerate(plan.follow_ups, 1)
        ),
        f"- then: {silence}; at most {spoken(plan.longest)} in all",
        *(["- admitted when it was registered: consent, opt-outs, nobody else busy"] if engagement.admission else []),
    ]
    return "\n".join(lines)
