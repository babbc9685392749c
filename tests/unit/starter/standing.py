"""An engagement that does nothing but wait for ``stop``: the real one's name, query and updates, without its steps."""

from datetime import UTC, datetime

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from domain import names
from domain.ats import AtsStatus
from domain.calls import Command, CommandResult, MarkAnswered, MigratePlan, NewPlan, ResolveSend
from domain.engagements import Engagement
from domain.migration import Migration, MigrationView
from domain.outcomes import Decision
from domain.plans import Plan
from domain.sends import LedgerState
from domain.snapshot import EngagementSnapshot, SendView
from domain.state import EngagementState

DECIDED = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@workflow.defn(name=names.CANDIDATE_ENGAGEMENT)
class StandingEngagement:
    @workflow.init
    def __init__(self, engagement: Engagement, state: EngagementState | None = None) -> None:
        self.engagement = engagement
        self.stopped: Command | None = None
        self.renewed = False

    @workflow.run
    async def run(self, engagement: Engagement, state: EngagementState | None = None) -> str:
        await workflow.wait_condition(lambda: self.stopped is not None or self.renewed)
        await workflow.wait_condition(workflow.all_handlers_finished)
        if self.renewed:
            workflow.continue_as_new(args=[engagement, None])
        return "STOPPED"

    @workflow.update(name=names.STOP)
    def stop(self, command: Command) -> CommandResult:
        self.stopped = command
        return self._done(names.STOP, command)

    @workflow.signal(name=names.CONTACT_CHANGED)
    def renew(self) -> None:
        """Stands in for a history that grew long."""
        self.renewed = True

    @workflow.update(name=names.RESOLVE_SEND)
    def resolve_send(self, command: ResolveSend) -> CommandResult:
        return self._done(names.RESOLVE_SEND, command)

    @workflow.update(name=names.ATS_STATUS)
    def ats_status(self, command: AtsStatus) -> CommandResult:
        return self._done(f"{names.ATS_STATUS} {command.status}", command)

    @workflow.update(name=names.RESEND)
    def resend(self, command: Command) -> CommandResult:
        return self._done(names.RESEND, command)

    @workflow.update(name=names.PAUSE)
    def pause(self, command: Command) -> CommandResult:
        return self._done(names.PAUSE, command)

    @workflow.update(name=names.RESUME)
    def resume(self, command: Command) -> CommandResult:
        return self._done(names.RESUME, command)

    @resume.validator
    def _may_resume(self, command: Command) -> None:
        raise ApplicationError("it is not paused", type=names.NOT_ALLOWED)

    @workflow.update(name=names.MARK_ANSWERED)
    def mark_answered(self, command: MarkAnswered) -> CommandResult:
        self.stopped = command
        return self._done(names.MARK_ANSWERED, command).model_copy(update={"text": f"{len(command.answers)} answers"})

    @workflow.update(name=names.MIGRATE_PLAN)
    def migrate_plan(self, command: MigratePlan) -> CommandResult:
        self.engagement = self.engagement.model_copy(update={"plan": command.plan})
        return self._done(names.MIGRATE_PLAN, command)

    @migrate_plan.validator
    def _may_migrate_plan(self, command: MigratePlan) -> None:
        reasons = self._migration(command.plan, command.from_version).reasons()
        if reasons:
            raise ApplicationError("; ".join(reasons), type=names.NOT_ALLOWED)

    @workflow.query(name=names.MAY_MIGRATE)
    def may_migrate(self, new: NewPlan) -> MigrationView:
        return self._migration(new.plan, new.from_version).view()

    def _migration(self, plan: Plan, from_version: int | None) -> Migration:
        state = EngagementState(started_at=workflow.now())
        return Migration(self.engagement, state, plan, workflow.now(), from_version=from_version)

    @resend.validator
    def _may_resend(self, command: Command) -> None:
        raise ApplicationError("no send's outcome is unknown", type=names.NOT_ALLOWED)

    @workflow.query(name=names.SNAPSHOT)
    def snapshot(self) -> EngagementSnapshot:
        info = workflow.info()
        key = f"{info.workflow_id}/opening/1"
        send = SendView(key=key, step="opening", n=1, template="intake_v1", send_state=LedgerState.UNKNOWN, at=DECIDED)
        return EngagementSnapshot(
            workflow_id=info.workflow_id,
            tenant=self.engagement.tenant,
            reference=self.engagement.reference,
            plan=self.engagement.plan.name,
            plan_version=self.engagement.plan.version,
            line=self.engagement.route.line,
            stage="awaiting-answer",
            waiting_for="the candidate's answer",
            sends=(send,),
            decisions=(Decision(at=DECIDED, rule="admitted", text="consent is there and nothing forbids it"),),
            needs_human=True,
        )

    def _done(self, name: str, command: Command) -> CommandResult:
        return CommandResult(
            command_id=command.command_id, command=name, accepted=True, text=command.reason, at=workflow.now()
        )
