"""Waits for the candidate: events, confirmation of ends, follow-ups, and silence that is a finding, not a guess."""

from domain.calls import EndConversation, RunQuestion
from domain.events import FlowRunStatus
from domain.following import Move, NextMove
from domain.outcomes import EngagementOutcome
from domain.plans import LastEnd
from domain.send_record import SendRecord
from domain.sends import LedgerState
from domain.state import Stage
from workflows.holding import Holding
from workflows.progress import Progress
from workflows.reconciling import OPENINGS
from workflows.sending import Sending
from workflows.steps import Step


class Listening:
    """The long part of an engagement."""

    def __init__(self, progress: Progress, holding: Holding, sending: Sending) -> None:
        self._progress, self._holding, self._sending = progress, holding, sending
        self._state = progress.state

    async def step(self) -> None:
        """Wait for the next thing that matters and act on it."""
        progress = self._progress
        progress.reader().read_news()
        if self._state.unconfirmed_run:
            await self._confirm_end()
        elif self._state.pause is not None and progress.now < progress.ends_at:
            await self._holding.listen_while_paused()
        elif not progress.is_settled():
            due = self._progress.following.next_move(progress.now)
            if progress.now < due.at:
                await progress.wait(Stage.AWAITING_ANSWER, due.waiting_for, due.at)
            else:
                await self._act(due)

    async def _act(self, due: NextMove) -> None:
        if due.move is Move.FAILED_RUN:
            self._progress.reader().give_up_on_failed_run()
            return
        if due.move is Move.TEMPLATE:
            await self._leave_as_template()
            return
        if due.move is Move.ANSWERED:
            reason = "the candidate answered, and the plan has no more to ask"
            self._progress.settle(EngagementOutcome.COMPLETED, "answered", reason)
            return
        if due.move is Move.FOLLOW_UP and self._skips(due.place):
            return
        self._progress.acting_on = due.place
        try:
            await self._carry_out(due)
        finally:
            self._progress.acting_on = 0

    async def _carry_out(self, due: NextMove) -> None:
        plan = self._state.plan
        if due.move is Move.FOLLOW_UP and await self._sending.windows.wait(self._follow_up_step(due)):
            return  # what came while the window was closed is judged first
        await self._ask_before_judging(self._follow_up_step(due) if due.move is Move.FOLLOW_UP else None)
        if self._progress.is_settled() or self._state.failed_run_since is not None:
            return
        if self._state.plan is not plan:
            return  # what is due, and when, is for the plan to say that it goes by now
        if self._state.pause is not None and self._progress.now < self._progress.ends_at:
            return  # paused while the provider was asked: the step is due again after the pause
        if due.move is Move.FOLLOW_UP:
            await self._follow_up(due)
        elif (
            self._progress.following.next_move(self._progress.now).move is Move.SILENCE
        ):  # else the provider told of a start
            self._judge_silence()

    async def _confirm_end(self) -> None:
        run_id = self._state.unconfirmed_run
        await self._check_run(run_id, "confirm the end that a webhook reported")
        if self._state.unconfirmed_run == run_id:
            self._state.unconfirmed_run = ""

    async def _ask_before_judging(self, step: Step | None) -> None:
        """Ask how the run stands; with it, where a step is to leave, how its template stands by our own row."""
        live = self._state.live_run()
        if live is not None and live.receipt.run_id and self._progress.engagement.route.capabilities.can_read_runs:
            await self._check_run(live.receipt.run_id, "ask the provider before calling it silence", step)

    async def _check_run(self, run_id: str, why: str, before: Step | None = None) -> None:
        progress, holding = self._progress, self._holding
        account = self._state.route_of_run(run_id, progress.engagement).account
        template = holding.question_in_passing(before)
        run = await holding.persist(
            lambda: progress.calls.check_flow_run(
                RunQuestion(account=account, run_id=run_id, template=template, at=progress.now), why
            ),
            self._step_for("asking the provider"),
            refusal_is_answer=True,
        )
        if run is not None and not progress.is_settled():
            holding.hear_template(template, run.template)
            progress.reader().take_run(run)

    def _skips(self, place: int) -> bool:
        """Whether this follow-up is not to leave, by its condition or the budget; then the plan goes on without it."""
        progress, objection = self._progress, self._progress.following.objection(place)
        if objection is not None:
            progress.log(objection.rule, f"follow-up {place} skipped: {objection.reason}")
            self._progress.following.finish(place, progress.now)
        return objection is not None

    def _follow_up_step(self, due: NextMove) -> Step:
        """The follow-up that is due; where it may have waited for a window, its expiry counts from when it was due."""
        progress, plan = self._progress, self._progress.engagement.plan
        its = plan.follow_ups[due.place - 1]
        expires = (progress.now if plan.send_window is None else due.at) + (its.expires or plan.step_expiry)
        return Step(
            f"follow-up-{due.place}",
            its.template,
            its.flow,
            min(expires, progress.ends_at),
            free_form=its.free_form,
            objection=lambda: self._progress.following.objection(due.place),
            why=self._progress.following.cause(due.place),
        )

    async def _follow_up(self, due: NextMove) -> None:
        progress, follow_up = self._progress, self._progress.engagement.plan.follow_ups[due.place - 1]
        if self._skips(due.place):  # what the provider, asked, has just told may change it
            return
        if follow_up.flow is not None and progress.engagement.route.capabilities.one_live_run_per_thread:
            live = self._state.live_run()
            if live is not None and not await self.end_run(live):
                return
        step = self._follow_up_step(due)
        progress.log("follow-up", f"{self._progress.following.cause(due.place)}: follow-up {due.place}")
        await self._sending.deliver(step)
        if not progress.is_settled():
            self._progress.following.finish(due.place, progress.now)

    async def _leave_as_template(self) -> None:
        """What left without a template did not arrive: its template leaves in its place, as long as it is worth it."""
        progress, state, record = self._progress, self._state, self._state.failed_free_form()
        if record is None:
            return
        record.state = LedgerState.REJECTED  # refused, only told later: it was not sent and costs nothing
        plan = progress.engagement.plan
        steps = {f"follow-up-{n}": n for n in range(1, len(plan.follow_ups) + 1)} | dict.fromkeys(OPENINGS, 0)
        place = steps.get(record.step)
        step = self._step_again(record, place) if place is not None else None
        if place is None or step is None or step.expires <= progress.now:
            progress.log("expired", f"{record.step}: its template is not worth sending any more")
            state.needs_human = True
            return
        progress.log("template-follows", f"{step.name}: free text was not delivered; its template leaves")
        progress.acting_on = place
        try:
            await self._sending.deliver(step)
        finally:
            progress.acting_on = 0

    def _step_again(self, record: SendRecord, place: int) -> Step:
        """The step of a send that did not arrive; its time runs from when it first was to leave."""
        progress, plan = self._progress, self._progress.engagement.plan
        its = plan.follow_ups[place - 1] if place else plan.opening
        expires = min(record.since + (its.expires or plan.step_expiry), progress.ends_at)
        return Step(
            record.step,
            its.template,
            its.flow,
            expires,
            objection=lambda: progress.following.objection_again(place) if place else None,
            why="free text was not delivered",
        )

    async def end_run(self, live: SendRecord, *, refusal_is_answer: bool = False) -> bool:
        """Cancel the live run so that a new one can start. False when it turned out to have ended well meanwhile.

        With ``refusal_is_answer`` a provider that refuses has nothing to cancel.
        """
        progress = self._progress
        live.cancelled_by_us = True
        request = EndConversation(
            account=progress.engagement.route.account, run_id=live.receipt.run_id, at=progress.now
        )
        ended = await self._holding.persist(
            lambda: progress.calls.end_conversation(request),
            self._step_for("ending the earlier flow run"),
            refusal_is_answer=refusal_is_answer,
        )
        if progress.is_settled() or (ended is None and not refusal_is_answer):
            return False
        status = ended.run_status if ended is not None else None
        if status is FlowRunStatus.FINISHED:
            live.cancelled_by_us = False
            await self._check_run(live.receipt.run_id, "the run finished before it could be cancelled")
            return False
        live.advance_run(status or FlowRunStatus.CANCELLED)
        return True

    def _judge_silence(self) -> None:
        progress, plan = self._progress, self._progress.engagement.plan
        asked = (
            "the provider, asked, has nothing"
            if progress.engagement.route.capabilities.can_read_runs
            else "nothing came"
        )
        if plan.silence.end is LastEnd.HAND_OVER:
            outcome, reason = EngagementOutcome.HANDED_OVER, f"no answer; {asked}; the plan hands over"
        else:
            outcome, reason = EngagementOutcome.NO_REPLY, f"no answer; {asked}"
        progress.leave_or_settle(outcome, "silence", reason)

    def _step_for(self, name: str) -> Step:
        """A lookup outside any send may take until the engagement's end, and at least one step's time."""
        progress = self._progress
        opening = progress.engagement.plan.opening
        expires = max(progress.ends_at, progress.now + progress.engagement.plan.step_expiry)
        return Step(name, opening.template, opening.flow, expires)
