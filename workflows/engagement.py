"""One candidate, one conversation, carried to one outcome."""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from domain import names
from domain.admission import admission_request
from domain.ats import AtsEvent, AtsStatus
from domain.calls import (
    Admission,
    Command,
    CommandResult,
    LineOfAccount,
    MarkAnswered,
    MigratePlan,
    NewPlan,
    ResolveSend,
    ThreadRequest,
)
from domain.contacts import ContactChange, ContactFree
from domain.engagements import Engagement
from domain.events import ProviderEvents
from domain.gates import GateDecision
from domain.migration import MigrationView
from domain.outcomes import EngagementOutcome, EngagementResult
from domain.sends import LedgerState
from domain.snapshot import EngagementSnapshot
from domain.state import EngagementState, Stage
from workflows.closing import Closing
from workflows.falling_back import FallingBack
from workflows.holding import HEARD_FOR, Holding
from workflows.listening import Listening
from workflows.notices import Notices
from workflows.progress import Progress
from workflows.reconciling import FALLBACK_OPENING, OPENING
from workflows.sending import Sending
from workflows.steps import Step
from workflows.story import snapshot

PATCH = "fewer-steps"
"""Engagements that began under the release before it go on as they began; asked once, the state carries it. The input
of those that are started now says so itself, which needs no marker."""

LONGEST_QUEUE_PAUSE = timedelta(hours=1)
"""How long a queued engagement rests at most before it asks again whether the person is free."""


@workflow.defn(name=names.CANDIDATE_ENGAGEMENT)
class EngagementWorkflow:
    """Carries one engagement. Every step skips what the state says is done, so it resumes anywhere."""

    @workflow.init  # before any signal can arrive; takes up what continue-as-new carried over
    def __init__(self, engagement: Engagement, state: EngagementState | None = None) -> None:
        self._engagement = engagement
        self._state = state or EngagementState(started_at=workflow.now())
        self._progress = Progress(engagement, self._state)
        self._holding = Holding(self._progress)
        self._sending = Sending(self._progress, self._holding)
        self._listening = Listening(self._progress, self._holding, self._sending)
        self._falling_back = FallingBack(self._progress, self._holding, self._listening)
        self._notices = Notices(self._progress)
        self._closing = Closing(self._progress, self._holding, self._notices)
        self._given: Admission | None = None

    @workflow.run
    async def run(self, engagement: Engagement, state: EngagementState | None = None) -> EngagementResult:
        """From admission to the final outcome."""
        if state is None:
            self._begin(engagement)
        self._notices.resume()
        await self._carry()
        while self._falling_back.is_due():
            await self._falling_back.go_over()
            await self._carry()
        return await self._closing.close(self.snapshot)

    def _begin(self, engagement: Engagement) -> None:
        """Take the steps that the input says, but where a worker that did not know how to read it has begun.

        That one asked the patch of everybody, and asked for the admission; its marker is read when it is replayed.
        While nothing is replayed there is none, and asking would make one.
        """
        is_begun_by_patch = (not engagement.fewer_steps or workflow.unsafe.is_replaying()) and workflow.patched(PATCH)
        self._state.fewer_steps = engagement.fewer_steps or is_begun_by_patch
        self._given = None if is_begun_by_patch else engagement.admission

    async def _carry(self) -> None:
        """Carry it on the line that it is on, until that has come to its end."""
        await self._admit()
        await self._ensure_template_approved()
        await self._open_thread()
        await self._trigger_flow()
        await self._await_outcome()

    @workflow.signal(name=names.PROVIDER_EVENTS, description="What the provider's webhooks told, in batches")
    def provider_events(self, batch: ProviderEvents) -> None:
        """Appends, decides nothing, never raises."""
        self._state.receive(batch)

    @workflow.signal(name=names.GATE_DECISION, description="What the gate decided for all who wait there")
    def gate_decision(self, decision: GateDecision) -> None:
        """Appends, decides nothing, never raises."""
        self._state.hear_gate(decision)

    @workflow.signal(name=names.CONTACT_CHANGED, description="An opt-out was recorded outside the conversation")
    def contact_changed(self, change: ContactChange) -> None:
        """Appends, decides nothing, never raises."""
        self._state.hear_contact_change(change)

    @workflow.signal(name=names.CONTACT_FREE, description="Another engagement of this person is over")
    def contact_free(self, free: ContactFree) -> None:
        """Notes it, decides nothing, never raises."""
        self._state.contact_free = True

    @workflow.update(name=names.STOP, description="End the engagement; nothing more is sent")
    def stop(self, command: Command) -> CommandResult:
        """End as STOPPED."""
        return self._accept(names.STOP, command, "stopping; nothing more is sent")

    @stop.validator
    def _may_stop(self, command: Command) -> None:
        self._refuse_when_over(command)

    @workflow.update(name=names.HAND_OVER, description="Give the conversation to a person")
    def hand_over(self, command: Command) -> CommandResult:
        """End as HANDED_OVER."""
        return self._accept(names.HAND_OVER, command, "handing over; nothing more is sent")

    @hand_over.validator
    def _may_hand_over(self, command: Command) -> None:
        self._refuse_when_over(command)

    @workflow.update(name=names.RESOLVE_SEND, description="Say whether a send with unknown outcome was sent")
    def resolve_send(self, command: ResolveSend) -> CommandResult:
        """Settle a send whose answer was lost."""
        return self._accept(names.RESOLVE_SEND, command, "was sent" if command.was_sent else "was not sent")

    @resolve_send.validator
    def _may_resolve(self, command: ResolveSend) -> None:
        self._refuse_when_over(command)
        if self._state.remembered(command.command_id) is None:
            record = self._state.send_by_key(command.send_key)
            if record is None or record.state is not LedgerState.UNKNOWN:
                raise _not_allowed("this send's outcome is not unknown; look at the engagement's sends again")

    @workflow.update(name=names.RESEND, description="Send a step with unknown outcome once more, under a new key")
    def resend(self, command: Command) -> CommandResult:
        """Accept that the message may arrive twice."""
        return self._accept(names.RESEND, command, "sending once more; the earlier message may have arrived too")

    @resend.validator
    def _may_resend(self, command: Command) -> None:
        self._refuse_when_over(command)
        if self._state.remembered(command.command_id) is None and self._state.unknown_send() is None:
            raise _not_allowed("no send's outcome is unknown, so nothing is sent again")

    @workflow.update(name=names.PAUSE, description="Let nothing leave until it is resumed; it goes on listening")
    def pause(self, command: Command) -> CommandResult:
        """Keep back whatever has not left."""
        return self._accept(names.PAUSE, command, "paused; nothing leaves until it is resumed")

    @pause.validator
    def _may_pause(self, command: Command) -> None:
        self._refuse_when_over(command)
        if self._state.remembered(command.command_id) is None and self._state.is_paused():
            pause = self._state.pause
            raise _not_allowed(f"it is paused already{f', by {pause.actor}: {pause.reason}' if pause else ''}")

    @workflow.update(name=names.RESUME, description="Go on after a pause; deadlines have moved by its length")
    def resume(self, command: Command) -> CommandResult:
        """Go on."""
        return self._accept(names.RESUME, command, "going on")

    @resume.validator
    def _may_resume(self, command: Command) -> None:
        self._refuse_when_over(command)
        if self._state.remembered(command.command_id) is None and not self._state.is_paused():
            raise _not_allowed("it is not paused; what a pause of its line or tenant keeps back goes on when that ends")

    @workflow.update(name=names.MARK_ANSWERED, description="The candidate answered by another way; end as COMPLETED")
    def mark_answered(self, command: MarkAnswered) -> CommandResult:
        """End as COMPLETED with what the operator says was answered."""
        return self._accept(names.MARK_ANSWERED, command, "answered; nothing more is sent")

    @mark_answered.validator
    def _may_mark_answered(self, command: MarkAnswered) -> None:
        self._refuse_when_over(command)

    @workflow.update(name=names.MIGRATE_PLAN, description="Go on by a later version of the plan")
    def migrate_plan(self, command: MigratePlan) -> CommandResult:
        """Change the plan here, so that nothing comes between the check and the change; ``run`` finds it changed."""
        earlier = self._state.remembered(command.command_id)
        if earlier is not None:
            return earlier
        moved = self._progress.migration(command.plan, command.from_version).carry_out(command)
        return self._accept(names.MIGRATE_PLAN, command, moved)

    @migrate_plan.validator
    def _may_migrate_plan(self, command: MigratePlan) -> None:
        self._refuse_when_over(command)
        reasons = self._progress.migration(command.plan, command.from_version).reasons()
        if reasons and self._state.remembered(command.command_id) is None:
            raise _not_allowed("; ".join(reasons))

    @workflow.query(name=names.MAY_MIGRATE, description="What going on by a later version of the plan would mean")
    def may_migrate(self, new: NewPlan) -> MigrationView:
        """Every reason against it, or what changes."""
        return self._progress.migration(new.plan, new.from_version).view()

    @workflow.query(name=names.SNAPSHOT, description="Where the engagement stands")
    def snapshot(self) -> EngagementSnapshot:
        """Where the engagement stands."""
        progress, plan = self._progress, self._state.plan or self._engagement.plan
        return snapshot(progress.engagement, self._state, plan, progress.waiting_for, progress.until)

    @workflow.update(name=names.ATS_STATUS, description="What the tenant's system says became of the application")
    def ats_status(self, command: AtsStatus) -> CommandResult:
        """End as WITHDRAWN, or note a move."""
        text = "ending as WITHDRAWN; nothing more is sent" if command.status.ends else "noted; the engagement goes on"
        return self._accept(names.ATS_STATUS, command, text)

    @ats_status.validator
    def _may_change_ats_status(self, command: AtsStatus) -> None:
        self._refuse_when_over(command)
        job = self._progress.engagement.job
        if command.job and job and command.job != job and self._state.remembered(command.command_id) is None:
            raise _not_allowed(f"the engagement is about another job ({job}) than the status ({command.job})")

    async def _admit(self) -> None:
        if self._state.admitted or self._progress.is_settled():
            return
        engagement, progress = self._progress.engagement, self._progress
        pause, admission = engagement.timing.provider_pause, self._admission_given() or await self._ask_admission()
        while admission.queued and not progress.is_settled():
            await self._holding.queue(self._opening(), admission.reason, pause)
            pause = min(pause * 2, LONGEST_QUEUE_PAUSE)
            if not progress.is_settled():
                admission = await self._ask_admission()
        if admission.queued:
            return
        self._state.release(progress.now, "the other engagement is over")
        self._state.admitted = admission.admitted
        if admission.admitted:
            progress.log(
                "admitted", f"plan {engagement.plan.name} v{engagement.plan.version} on {engagement.route.line}"
            )
        else:
            self._refuse(admission)

    def _refuse(self, admission: Admission) -> None:
        """On the fallback line it ends as it would have without: there is no other line to go to."""
        opted_out, went_over = admission.rule == "opted-out", self._state.went_over
        if went_over is not None and not opted_out:
            self._falling_back.end_as(went_over.instead_of, f"{went_over.line.line} was refused: {admission.reason}")
        else:
            outcome = EngagementOutcome.OPTED_OUT if opted_out else EngagementOutcome.REFUSED
            self._progress.settle(outcome, admission.rule, admission.reason)

    def _admission_given(self) -> Admission | None:
        """What was decided when it was registered. How the template stood counts where it began at once."""
        given, self._given = self._given, None
        if given is not None and self._progress.now - self._progress.engagement.requested_at <= HEARD_FOR:
            self._holding.hear_template(self._holding.question_in_passing(self._opening()), given.template)
        return given

    async def _ask_admission(self) -> Admission:
        engagement, progress, route = self._progress.engagement, self._progress, self._progress.engagement.route
        over = LineOfAccount(account=route.account, provider=route.provider) if self._state.went_over else None
        question = self._holding.question_in_passing(self._opening())
        progress.show(Stage.ADMITTING, "consent, opt-outs and other engagements to be checked")
        self._state.contact_free = False  # what is told while this is asked counts for the next time
        its_id = workflow.info().workflow_id
        request = admission_request(engagement, its_id, progress.now, template=question, goes_over_to=over)
        admission = await progress.finish(progress.calls.admit(request), recall=False)
        self._holding.hear_template(question, admission.template)
        return admission

    async def _ensure_template_approved(self) -> None:
        if not (self._progress.is_settled() or self._state.sends_here or self._state.thread):
            await self._holding.ensure_template(self._opening())

    async def _open_thread(self) -> None:
        if (
            self._progress.is_settled()
            or self._state.thread
            or not self._progress.engagement.route.capabilities.has_threads
        ):
            return
        await self._holding.wait_out_pause(self._opening())
        if self._progress.is_settled():
            return
        request = ThreadRequest(
            workflow_id=workflow.info().workflow_id,
            account=self._progress.engagement.route.account,
            line=self._progress.engagement.route.line,
            contact_id=self._progress.engagement.contact_id,
            address=self._progress.engagement.candidate.phone,
            at=self._progress.now,
        )
        thread = await self._holding.persist(lambda: self._progress.calls.open_thread(request), self._opening())
        if thread is None:
            return
        self._state.thread = thread
        if thread.chatbot_paused:
            reason = "the conversation's bot is paused at the provider; somebody is or was talking to this person"
            self._progress.settle(EngagementOutcome.HANDED_OVER, "thread-paused", reason)

    async def _trigger_flow(self) -> None:
        record = self._state.send_of_step(self._opening().name)
        if not (
            self._progress.is_settled() or (record and record.state is LedgerState.SENT and not record.needs_record)
        ):
            await self._sending.deliver(self._opening(), template_checked=record is None)

    async def _await_outcome(self) -> None:
        self._tell_progress()
        while not self._progress.is_settled():
            await self._listening.step()
            self._tell_progress()
            await self._continue_if_due()

    def _tell_progress(self) -> None:
        if self._state.last_message_at is not None:
            self._notices.make(AtsEvent.OPENED)
        if self._state.was_delivered():
            self._notices.make(AtsEvent.DELIVERED)

    async def _continue_if_due(self) -> None:
        info = workflow.info()
        if info.is_continue_as_new_suggested() and not self._progress.is_settled():
            await workflow.wait_condition(workflow.all_handlers_finished)
            workflow.continue_as_new(args=[self._engagement, self._state.carried()])

    def _opening(self) -> Step:
        plan, went_over = self._progress.engagement.plan, self._state.went_over
        name, since = (FALLBACK_OPENING, went_over.at) if went_over else (OPENING, self._state.started_at)
        expires = since + (plan.opening.expires or plan.step_expiry)
        why = f"nothing arrived on {went_over.left.line}" if went_over else f"plan {plan.name} v{plan.version} begins"
        its = plan.opening
        return Step(name, its.template, its.flow, expires, free_form=its.free_form, why=why)

    def _accept(self, name: str, command: Command, text: str) -> CommandResult:
        earlier = self._state.remembered(command.command_id)
        return earlier or self._state.accept(name, command, text, workflow.now())

    def _refuse_when_over(self, command: Command) -> None:
        settlement = self._state.settlement
        if settlement is not None and self._state.remembered(command.command_id) is None:
            raise _not_allowed(f"the engagement is over: {settlement.outcome}")


def _not_allowed(text: str) -> ApplicationError:
    return ApplicationError(text, type=names.NOT_ALLOWED, non_retryable=True)
