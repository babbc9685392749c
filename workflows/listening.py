"""Waits for the candidate: events, confirmation of ends, follow-ups, and silence that is a finding, not a guess."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from domain.calls import EndConversation, RunQuestion
from domain.events import FlowRunStatus
from domain.outcomes import EngagementOutcome
from domain.plans import FollowUp, SilenceEnd
from domain.state import SendRecord, Stage
from workflows.holding import Holding
from workflows.progress import Progress
from workflows.sending import Sending
from workflows.steps import Step


class Move(StrEnum):
    """What happens when the present wait is over."""

    FOLLOW_UP = "follow-up"
    SILENCE = "silence"
    FAILED_RUN = "failed-run"


@dataclass(frozen=True)
class NextMove:
    """What is due, when, and how people read it."""

    move: Move
    at: datetime
    waiting_for: str


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
        elif not progress.is_settled():
            due = self._next_move()
            if progress.now < due.at:
                await progress.wait(Stage.AWAITING_ANSWER, due.waiting_for, due.at)
            else:
                await self._act(due)

    def _next_move(self) -> NextMove:
        plan, state = self._progress.engagement.plan, self._state
        since = state.last_message_at or state.started_at
        if state.failed_run_since is not None:
            at = state.failed_run_since + self._progress.engagement.timing.failure_settle
            return NextMove(Move.FAILED_RUN, at, "the failed flow run to explain itself")
        if state.follow_ups_done < len(plan.follow_ups):
            n = state.follow_ups_done + 1
            at = since + plan.follow_ups[state.follow_ups_done].after
            return NextMove(Move.FOLLOW_UP, at, f"an answer, else follow-up {n} of {len(plan.follow_ups)}")
        at = min(since + plan.silence.after, self._progress.ends_at)
        if self._no_run_can_answer():
            at = min(at, self._progress.now)
        then = "hand over" if plan.silence.then is SilenceEnd.HAND_OVER else "close as no reply"
        return NextMove(Move.SILENCE, at, f"an answer, else {then}")

    def _no_run_can_answer(self) -> bool:
        """Every flow run of ours timed out at the provider, so waiting longer brings nothing."""
        runs = [s.run_status for s in self._state.sends if s.with_flow]
        return bool(runs) and all(status is FlowRunStatus.TIMED_OUT for status in runs)

    async def _act(self, due: NextMove) -> None:
        if due.move is Move.FAILED_RUN:
            self._progress.reader().give_up_on_failed_run()
            return
        await self._ask_before_judging()
        if self._progress.is_settled() or self._state.failed_run_since is not None:
            return
        if due.move is Move.FOLLOW_UP:
            await self._follow_up(self._progress.engagement.plan.follow_ups[self._state.follow_ups_done])
        else:
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

    async def _follow_up(self, follow_up: FollowUp) -> None:
        progress, n = self._progress, self._state.follow_ups_done + 1
        if follow_up.flow is not None and progress.engagement.route.capabilities.one_live_run_per_thread:
            live = self._state.live_run()
            if live is not None and not await self._end_run(live):
                return
        expires = progress.now + progress.engagement.plan.step_expiry
        step = Step(f"follow-up-{n}", follow_up.template, follow_up.flow, min(expires, progress.ends_at))
        progress.log("follow-up", f"nothing came for {_spoken(follow_up.after)}: follow-up {n}")
        await self._sending.deliver(step)
        if not progress.is_settled():
            self._state.follow_ups_done = n
            self._state.last_message_at = progress.now

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


def _spoken(length: timedelta) -> str:
    days, rest = divmod(int(length.total_seconds()), 86400)
    hours, rest = divmod(rest, 3600)
    parts = [f"{days} d" if days else "", f"{hours} h" if hours else "", f"{rest} s" if rest else ""]
    return " ".join(filter(None, parts)) or "a moment"
