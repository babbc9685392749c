"""Waiting with a stated reason: for a template, for a provider, for a line; never past what is worth sending."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError
from temporalio.workflow import ActivityHandle

from domain.admission import template_question
from domain.calls import TemplateQuestion
from domain.errors import Scope
from domain.gates import GateDecision, Refusal
from domain.ids import paused_scope
from domain.outcomes import EngagementOutcome
from domain.plans import CategoryChange, TemplateRef
from domain.sends import SendFailure, TemplateReading, TemplateStatus
from domain.state import Stage, earliest
from workflows.endings import failure_in, is_refused, is_rejected
from workflows.gates import AtGates
from workflows.pausing import Pausing
from workflows.progress import Progress
from workflows.steps import Step

Answer = TypeVar("Answer")
HEARD_FOR = timedelta(minutes=1)
"""As long as the steps take between an answer and what leaves by it; who waited meanwhile asks anew."""
PATCH = "wait-for-resume-at-gates"
"""Engagements that a pause of their tenant or line kept back before those gates existed try again one by one."""


class Holding:
    """Holds of one engagement."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._state = progress, progress.state
        self.gates = AtGates(progress)
        self._pausing = Pausing(progress, self.gates)
        self._heard: tuple[TemplateRef, TemplateReading, datetime] | None = None

    async def ensure_template(self, step: Step) -> bool:
        """Wait, with a stated reason, until the step's template may be sent. False when the outcome is decided."""
        progress, timing = self._progress, self._progress.engagement.timing
        pause = timing.template_poll
        while not progress.is_settled():
            if await self.wait_out_pause(step) and progress.is_settled():
                return False
            reading = self._heard_of(step.template)
            if reading is None:
                ask = partial(progress.calls.ensure_template_approved, self._question(step))
                reading = await self.persist(ask, step)
            if reading is None:
                return False
            if reading.template_status.sends and not self._is_other_category(step.template, reading):
                return self._fits(step.template, reading)
            self._judge_template(step.template, reading)
            if progress.is_settled():
                return False
            if self.gates.exist():
                decision = await self._wait_for_template(step, reading)
                if decision is not None and decision.reading is not None:
                    return self._fits(step.template, decision.reading)
                self.expire_if_due(step)
            else:
                await self._hold_until(step, progress.now + pause, "the template to be approved")
                pause = min(pause * 2, timing.template_poll_ceiling)
        return False

    def question_in_passing(self, step: Step | None) -> TemplateQuestion | None:
        """What an activity that runs anyway is asked besides: how the template stands of what is to leave next."""
        return self._question(step) if step is not None and self._state.fewer_steps else None

    def hear_template(self, asked: TemplateQuestion | None, reading: TemplateReading | None) -> None:
        """What it answered to that; without a reading the template is asked about when the message leaves."""
        self._heard = None
        if asked is not None and reading is not None:
            self._heard = asked.template, reading, self._progress.now

    def _question(self, step: Step) -> TemplateQuestion:
        return template_question(self._progress.engagement, step.template, step.flow, self._progress.now)

    def _heard_of(self, template: TemplateRef) -> TemplateReading | None:
        """What was just heard of this template. It counts once: where a claim finds otherwise, the provider is asked.

        Not carried: no run ends between an answer and what leaves by it.
        """
        heard, self._heard = self._heard, None
        if heard is None or heard[0] != template or self._progress.now - heard[2] > HEARD_FOR:
            return None
        return heard[1]

    async def _wait_for_template(self, step: Step, reading: TemplateReading) -> GateDecision | None:
        template, refusal = step.template, None
        rule, why = "template-not-approved", f" ({reading.reason})" if reading.reason else ""
        reason = f"{template.name} ({template.language}) is {reading.raw_status or reading.template_status}{why}"
        if reading.template_status.sends:
            rule = "category-changed"
            reason = f"{template.name} ({template.language}) became {reading.category}, not {reading.asked_category}"
            refusal = Refusal(code=rule, reason=reason, at=self._progress.now, needs_human=True)
        return await self.gates.wait(step, Scope.TEMPLATE, rule=rule, reason=reason, reading=reading, refusal=refusal)

    def _is_other_category(self, template: TemplateRef, reading: TemplateReading) -> bool:
        """Whether a person must agree to the category that the provider chose. Visible in the log either way."""
        state = self._state
        if not reading.category_changed or state.accepted_category == reading.category:
            return False
        if self._progress.engagement.plan.category_change is CategoryChange.HOLD:
            return True
        state.accepted_category = reading.category
        said = f"{template.name} became {reading.category}; {reading.asked_category} was asked; the plan goes on"
        self._progress.log("category-changed", said)
        return False

    async def persist(
        self, call: Callable[[], ActivityHandle[Answer]], step: Step, *, refusal_is_answer: bool = False
    ) -> Answer | None:
        """Do a lookup until it works. None when the outcome was decided first: by the step's expiry, or by news.

        With ``refusal_is_answer`` None also says that the provider knows nothing of what was asked for.
        """
        progress = self._progress
        while not progress.is_settled():
            try:
                answer = await progress.finish(call())
            except ActivityError as error:
                if progress.is_settled():
                    return None
                failure = failure_in(error)
                if is_rejected(error) and not failure.scope.is_shared:
                    if refusal_is_answer:
                        progress.log("not-known", f"{step.name}: {failure.reason}")
                    else:
                        self.settle_rejection(failure)
                    return None
                if not await self.wait_with_others(step, failure, error):
                    self.hold_for(failure, needs_human=is_rejected(error))
                    await self.rest(step)
            else:
                self._state.release(progress.now, "the provider answered")
                return answer
        return None

    async def wait_with_others(self, step: Step, failure: SendFailure, error: ActivityError) -> bool:
        """Wait at the gate of a shared refusal. False when it is none, so the engagement waits by itself."""
        shared = failure.scope.is_shared and (is_rejected(error) or is_refused(error))
        if not shared or failure.code == "paused" or self._state.pause is not None or not self.gates.exist():
            return False
        await self.gates.wait(step, failure.scope, rule=f"{failure.scope}-held", reason=failure.reason)
        self.expire_if_due(step)
        return True

    async def wait_for_resume(self, step: Step, failure: SendFailure) -> bool:
        """Wait while an operator keeps a whole tenant or line back. False where that is waited for step by step."""
        if self._state.pause is not None or not (self.gates.exist() and workflow.patched(PATCH)):
            return False
        engagement = self._progress.engagement
        of_line = failure.scope is Scope.LINE
        paused = paused_scope("line", engagement.route.line) if of_line else paused_scope("tenant", engagement.tenant)
        await self.gates.wait_for_resume(step, paused, failure.reason)
        self.expire_if_due(step)
        return True

    async def wait_out_pause(self, step: Step) -> bool:
        """Wait while the engagement is paused; past the step's expiry it ends EXPIRED. True when it waited."""
        waited = await self._pausing.wait_out(step)
        if waited:
            self.expire_if_due(step)
        return waited

    async def listen_while_paused(self) -> None:
        """Hear the candidate and the operator, and let nothing leave."""
        await self._pausing.listen()

    def _fits(self, template: TemplateRef, reading: TemplateReading) -> bool:
        self._state.release(self._progress.now, "the template is approved")
        if reading.provider_id:
            self._state.template_ids[f"{template.name}:{template.language}"] = reading.provider_id
        if reading.category:
            self._state.template_categories[f"{template.name}:{template.language}"] = reading.category
        if reading.flow_missing:
            reason = f"{template.name} starts a flow and the plan names none"
        elif reading.variables is not None and reading.variables != len(template.variables):
            reason = f"{template.name} takes {reading.variables} variables, the plan gives {len(template.variables)}"
        else:
            return True
        self._progress.settle(EngagementOutcome.MISCONFIGURED, "template-variables", reason)
        return False

    def _judge_template(self, template: TemplateRef, reading: TemplateReading) -> None:
        status, why = reading.template_status, f" ({reading.reason})" if reading.reason else ""
        if status.is_refusal:
            reason = f"{template.name} ({template.language}) is {status}{why}"
            self._progress.settle(EngagementOutcome.TEMPLATE_REJECTED, "template-refused", reason)
        elif status is TemplateStatus.MISSING and not reading.can_submit:
            reason = f"the provider has no template {template.name} ({template.language})"
            self._progress.settle(EngagementOutcome.MISCONFIGURED, "template-missing", reason)
        elif not self.gates.exist():
            reason = f"{template.name} ({template.language}) is {reading.raw_status or status}{why}"
            self._state.put_on_hold(self._progress.now, "template-not-approved", reason)

    def settle_rejection(self, failure: SendFailure) -> None:
        """End for a refusal that concerns this message or this person alone."""
        reason = failure.reason or "the provider refused it for good"
        if failure.suppress:
            self._progress.settle(EngagementOutcome.OPTED_OUT, "suppressed", reason)
        elif failure.scope in (Scope.RECIPIENT, Scope.PAIR):
            self._progress.leave_or_settle(EngagementOutcome.UNREACHABLE, "recipient-rejected", reason)
        else:
            self._progress.settle(EngagementOutcome.MISCONFIGURED, "message-rejected", reason)

    def hold_for(self, failure: SendFailure, *, needs_human: bool) -> None:
        """Say why the engagement waits."""
        rule = f"{failure.scope}-rejected" if needs_human else "provider-unavailable"
        self._state.put_on_hold(self._progress.now, rule, failure.reason or "the provider does not answer")
        self._state.needs_human = needs_human

    async def rest(self, step: Step) -> None:
        """Wait for the next try of a held step."""
        pause = self._progress.engagement.timing.provider_pause
        await self._hold_until(step, self._progress.now + pause, "the next try")
        self._state.needs_human = False

    async def queue(self, step: Step, reason: str, pause: timedelta) -> None:
        """Wait for another engagement of the person to end, as long as the step is worth sending."""
        state, plan = self._state, self._state.plan
        state.put_on_hold(self._progress.now, "queued", reason)
        waiting_for = "another engagement of this person to end"

        def is_to_be_asked_again() -> bool:
            return state.contact_free or state.plan is not plan

        await self._hold_until(step, self._progress.now + pause, waiting_for, is_to_be_asked_again)

    async def _hold_until(
        self, step: Step, end: datetime, waiting_for: str, also: Callable[[], bool] = lambda: False
    ) -> None:
        """Rest while listening; past the step's expiry the engagement ends EXPIRED without a send."""
        progress = self._progress
        stop = earliest(end, step.expires, progress.ends_at) or end
        while not progress.is_settled() and not also() and progress.now < stop:
            await progress.wait(Stage.HELD, waiting_for, stop, also)
            await self.gates.confirm_end()
        self.expire_if_due(step)

    def expire_if_due(self, step: Step) -> bool:
        """End as EXPIRED when the step is no longer worth sending. True when the outcome is decided."""
        progress = self._progress
        if not progress.is_settled() and progress.now >= min(step.expires, progress.ends_at):
            held = f"held by {self._state.hold.rule}" if self._state.hold else "not sent"
            held = "paused" if self._state.pause is not None else held
            reason = f"{step.name} was {held} until it was not worth sending"
            if progress.going_over.expired_by_the_line():
                progress.leave_or_settle(EngagementOutcome.EXPIRED, "expired", reason)
            else:
                progress.settle(EngagementOutcome.EXPIRED, "expired", reason)
        return progress.is_settled()
