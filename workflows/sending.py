"""Carries one step's send to a known ending: claim, request, and what each ending means."""

from datetime import datetime

from temporalio import workflow
from temporalio.exceptions import ActivityError

from domain import names
from domain.errors import Scope
from domain.following import form_in_words
from domain.free_form import FreeFormMessage, MessageForm
from domain.ids import engagement_workflow_id, send_key
from domain.outcomes import EngagementOutcome
from domain.send_record import SendRecord
from domain.sends import LedgerState, Send, SendFailure, SendReceipt
from domain.state import Stage
from workflows.endings import SendEnding, failure_in, is_told_unknown, send_ending, was_recalled
from workflows.holding import Holding
from workflows.progress import Progress
from workflows.reconciling import Reconciling
from workflows.steps import Step
from workflows.windows import CAPPED, OUTSIDE_WINDOW, Windows

PATCH = "ask-ledger-first"
"""Engagements that lost an answer under the release before it did not ask the ledger."""


class Sending:
    """Sends of one engagement."""

    def __init__(self, progress: Progress, holding: Holding) -> None:
        self._progress, self._holding, self._state = progress, holding, progress.state
        self._reconciling = Reconciling(progress, holding)
        self.windows = Windows(progress, holding)

    async def deliver(self, step: Step, *, template_checked: bool = False) -> bool:
        """Send the step's message once. True when the provider has it; False when the outcome is decided, or when the
        step is a follow-up that must not leave any more, or that nobody could prove sent before it expired.
        """
        record = self._state.send_of_step(step.name) or self._intend(step, 1)
        while not self._progress.is_settled():
            match record.state:
                case LedgerState.SENT:
                    await self._reconciling.record(record, LedgerState.SENT)
                    return True
                case LedgerState.UNKNOWN:
                    if not await self._reconciling.settle_unknown(record, step):
                        return False
                case LedgerState.REJECTED:
                    await self._reconciling.record(record, LedgerState.REJECTED)
                    if self._state.hold is not None and not self._state.hold.gate:
                        await self._holding.rest(step)
                    record = self._intend(step, record.n + 1)  # the key is spent, and the message is known unsent
                    continue
                case _:
                    if not await self._go(record, step, template_checked=template_checked):
                        break
                    template_checked = False
            if self._state.resend_wanted and record.state is LedgerState.UNKNOWN:
                record = self._intend(step, record.n + 1)
            self._state.resend_wanted = False
        await self._reconciling.record(record, record.state)
        return record.state is LedgerState.SENT

    async def _go(self, record: SendRecord, step: Step, *, template_checked: bool) -> bool:
        """Try once, unless it is paused or no longer worth sending. False when it must not leave any more."""
        was_paused = await self._holding.wait_out_pause(step)
        if await self._is_dropped(step):
            return False
        if not self._holding.expire_if_due(step):
            await self._try(record, step, template_checked=template_checked and not was_paused)
        return True

    async def _is_dropped(self, step: Step) -> bool:
        """Whether the step must not leave any more, by its condition or the budget. Who waits at a gate leaves it."""
        objection = None if self._progress.is_settled() else step.objection()
        if objection is not None:
            self._progress.log(objection.rule, f"{step.name} skipped before it left: {objection.reason}")
            self._state.hold, self._state.needs_human = None, False
            await self._holding.gates.leave()
        return objection is not None

    def _intend(self, step: Step, n: int) -> SendRecord:
        engagement = self._progress.engagement
        workflow_id = engagement_workflow_id(engagement.tenant, engagement.reference)
        record = SendRecord(
            key=send_key(workflow_id, step.name, n),
            step=step.name,
            n=n,
            template=step.template.name,
            with_flow=step.flow is not None,
            since=self._progress.now,
        )
        self._state.sends.append(record)
        return record

    async def _try(self, record: SendRecord, step: Step, *, template_checked: bool) -> None:
        progress = self._progress
        was_held = await self.windows.wait(step)
        if was_held:
            await self.windows.ask_again(step)
        if progress.is_settled():
            return
        if (was_held or not template_checked) and not await self._holding.ensure_template(step):
            return
        await self._holding.gates.confirm_end()
        if progress.is_settled() or self._state.pause is not None or not self.windows.is_open() or step.objection():
            return  # a window that closed while the template was waited for is waited for next
        record.price = self._progress.following.price(step.template)
        # what a person said of an earlier attempt under this key must not settle the one that begins now
        self._state.resolutions = [r for r in self._state.resolutions if r.send_key != record.key]
        budget = min(step.expires - progress.now, progress.engagement.timing.send_budget)
        progress.show(Stage.OPENING, f"{step.name} to leave through {progress.engagement.route.line}", step.expires)
        try:
            receipt = await progress.finish(
                progress.calls.send(self._request(record, step), budget, self._why(record, step)),
                leaves_us=True,
                unwanted=lambda: step.objection() is not None,
            )
        except ActivityError as error:
            await self._take_ending(record, step, error)
        else:
            self._state.release(progress.now, "the send left")
            record.price = progress.following.price(step.template, receipt.form)
            self._state.mark_sent(record, receipt, progress.now)
            await self._holding.gates.passed()
            progress.log("sent", f"{step.name} #{record.n}: {_in_words(step, receipt, progress.now)}")

    def _free_form(self, record: SendRecord, step: Step) -> FreeFormMessage | None:
        """What may leave in place of the template; nothing where that was tried for this step and did not arrive."""
        tried = any(send.free_form_failed for send in self._state.sends if send.step == step.name)
        record.free_form_offered = step.free_form is not None and not tried
        if step.free_form is None or tried:
            return None
        return step.free_form.filled(self._progress.engagement.candidate.variables)

    def _why(self, record: SendRecord, step: Step) -> str:
        """What makes it leave, for whoever reads the history later."""
        if record.n == 1:
            return step.why
        asked = self._state.last_decision(names.RESEND)
        if asked is not None and asked.at <= record.since:
            return f"sent once more: {asked.text} ({asked.actor})"
        return "the earlier one is known unsent"

    def _request(self, record: SendRecord, step: Step) -> Send:
        engagement, now = self._progress.engagement, self._progress.now
        variables = engagement.candidate.variables
        return Send(
            key=record.key,
            workflow_id=engagement_workflow_id(engagement.tenant, engagement.reference),
            tenant=engagement.tenant,
            account=engagement.route.account,
            line=engagement.route.line,
            step=step.name,
            n=record.n,
            contact_id=engagement.contact_id,
            job=engagement.job,
            address=engagement.candidate.phone,
            thread_id=self._state.thread.thread_id if self._state.thread else "",
            template=self._progress.with_id(step.template),
            parameters=tuple((name, variables.get(name, "")) for name in step.template.variables),
            flow=step.flow,
            free_form=self._free_form(record, step),
            zone=engagement.zone,
            not_after=self.windows.closes_at(),
            at=now,
        )

    async def _take_ending(self, record: SendRecord, step: Step, error: ActivityError) -> None:
        progress, failure = self._progress, failure_in(error)
        match send_ending(error):
            case SendEnding.NOT_SENT:
                record.state = LedgerState.NOT_SENT
                if progress.is_settled() or was_recalled(error):
                    progress.log("recalled", f"{step.name}: recalled before it left")
                    return
                self._holding.hold_for(failure, needs_human=False)
                await self._holding.rest(step)
            case SendEnding.REJECTED:
                record.state, record.needs_record = LedgerState.REJECTED, not failure.recorded
                progress.log("rejected", f"{step.name}: the provider refused it ({failure.scope} {failure.code})")
                if failure.free_form and failure.scope is Scope.MESSAGE:
                    record.free_form_failed = True
                    progress.log("template-follows", f"{step.name}: free text was not taken; its template leaves")
                elif failure.scope.is_shared:
                    if not await self._holding.wait_with_others(step, failure, error):
                        self._holding.hold_for(failure, needs_human=True)
                else:
                    self._holding.settle_rejection(failure)
            case SendEnding.REFUSED:
                record.state = LedgerState.NOT_SENT
                await self._take_refusal(step, failure, error)
            case SendEnding.UNKNOWN:
                await self._take_unknown(record, step, error)

    async def _take_unknown(self, record: SendRecord, step: Step, error: ActivityError) -> None:
        progress = self._progress
        if record.is_known_to_provider:  # an event that carries our reference was faster than the answer
            self._state.mark_sent(record, record.receipt.model_copy(update={"recorded": False}), progress.now)
            progress.log("reconciled", f"{step.name}: the provider's own event shows that it was sent")
            return
        record.state = LedgerState.UNKNOWN
        progress.log("outcome-unknown", f"{step.name}: the answer was lost; it may have been sent")
        if not is_told_unknown(error) and workflow.patched(PATCH):
            await self._reconciling.ask_ledger(record, step)

    async def _take_refusal(self, step: Step, failure: SendFailure, error: ActivityError) -> None:
        match failure.code:
            case "opted-out":
                self._progress.settle(EngagementOutcome.OPTED_OUT, failure.code, "opted out before the message left")
            case "template":
                self._progress.log(failure.code, f"{step.name}: {failure.reason}; it is looked at again")
            case str(code) if code in (OUTSIDE_WINDOW, CAPPED):
                await self.windows.refused(step, failure)
            case "held" if await self._holding.wait_with_others(step, failure, error):
                pass
            case "paused" if await self._holding.wait_for_resume(step, failure):
                pass
            case "paused" | "held":
                self._state.put_on_hold(self._progress.now, failure.code, failure.reason)
                await self._holding.rest(step)
            case _:
                self._progress.settle(EngagementOutcome.REFUSED, failure.code or "policy", failure.reason)


def _in_words(step: Step, receipt: SendReceipt, now: datetime) -> str:
    """What was taken, and where the plan left it open, why it was that."""
    what = "free text" if receipt.form is MessageForm.FREE_FORM else step.template.name
    why = form_in_words(receipt, now)
    return f"{what} was taken by the provider{f'; {why}' if why else ''}"
