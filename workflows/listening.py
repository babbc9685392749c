"""Waits for the candidate: events, confirmation of ends, follow-ups, and silence that is a finding, not a guess."""

from domain.calls import EndConversation, RunQuestion
from domain.events import FlowRunStatus
from domain.following import Move, NextMove
from domain.outcomes import EngagementOutcome
from domain.plans import SilenceEnd
from domain.state import SendRecord, Stage
from workflows.holding import Holding
from workflows.progress import Progress
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
        if due.move is Move.ANSWERED:
            reason = "the candidate answered, and the plan has no more to ask"
            self._progress.settle(EngagementOutcome.COMPLETED, "answered", reason)
            return
        if due.move is Move.FOLLOW_UP and self._skips(due.place):
            return
        if due.move is Move.FOLLOW_UP and await self._sending.windows.wait(self._follow_up_step(due)):
            return  # what came while the window was closed is judged first
        await self._ask_before_judging()
        if self._progress.is_settled() or self._state.failed_run_since is not None:
            return
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

    async def _ask_before_judging(self) -> None:
        live = self._state.live_run()
        if live is not None and live.receipt.run_id and self._progress.engagement.route.capabilities.can_read_runs:
            await self._check_run(live.receipt.run_id, "ask the provider before calling it silence")

    async def _check_run(self, run_id: str, why: str) -> None:
        progress = self._progress
        account = progress.engagement.route.account
        run = await self._holding.persist(
            lambda: progress.calls.check_flow_run(RunQuestion(account=account, run_id=run_id, at=progress.now), why),
            self._step_for("asking the provider"),
            refusal_is_answer=True,
        )
        if run is not None and not progress.is_settled():
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
            objection=lambda: self._progress.following.objection(due.place),
        )

    async def _follow_up(self, due: NextMove) -> None:
        progress, follow_up = self._progress, self._progress.engagement.plan.follow_ups[due.place - 1]
        if self._skips(due.place):  # what the provider, asked, has just told may change it
            return
        if follow_up.flow is not None and progress.engagement.route.capabilities.one_live_run_per_thread:
            live = self._state.live_run()
            if live is not None and not await self._end_run(live):
                return
        step = self._follow_up_step(due)
        progress.log("follow-up", f"{self._progress.following.cause(due.place)}: follow-up {due.place}")
        await self._sending.deliver(step)
        if not progress.is_settled():
            self._progress.following.finish(due.place, progress.now)

    async def _end_run(self, live: SendRecord) -> bool:
        """Cancel the live run so that a new one can start. False when it turned out to have ended well meanwhile."""
        progress = self._progress
        live.cancelled_by_us = True
        request = EndConversation(
            account=progress.engagement.route.account, run_id=live.receipt.run_id, at=progress.now
        )
        ended = await self._holding.persist(
            lambda: progress.calls.end_conversation(request), self._step_for("ending the earlier flow run")
        )
        if ended is None or progress.is_settled():
            return False
        if ended.run_status is FlowRunStatus.FINISHED:
            live.cancelled_by_us = False
            await self._check_run(live.receipt.run_id, "the run finished before it could be cancelled")
            return False
        live.advance_run(ended.run_status or FlowRunStatus.CANCELLED)
        return True

    def _judge_silence(self) -> None:
        progress, plan = self._progress, self._progress.engagement.plan
        asked = (
            "the provider, asked, has nothing"
            if progress.engagement.route.capabilities.can_read_runs
            else "nothing came"
        )
        if plan.silence.then is SilenceEnd.HAND_OVER:
            progress.settle(EngagementOutcome.HANDED_OVER, "silence", f"no answer; {asked}; the plan hands over")
        else:
            progress.settle(EngagementOutcome.NO_REPLY, "silence", f"no answer; {asked}")

    def _step_for(self, name: str) -> Step:
        """A lookup outside any send may take until the engagement's end, and at least one step's time."""
        progress = self._progress
        opening = progress.engagement.plan.opening
        expires = max(progress.ends_at, progress.now + progress.engagement.plan.step_expiry)
        return Step(name, opening.template, opening.flow, expires)
