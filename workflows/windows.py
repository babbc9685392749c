"""When a message may leave: inside the plan's send window and under the caps. What was held is looked at again."""

from datetime import datetime

from domain.calls import RunQuestion
from domain.sends import SendFailure
from domain.state import Stage, earliest
from domain.windows import closes_at, opens_at
from workflows.holding import Holding
from workflows.progress import Progress
from workflows.steps import Step

OUTSIDE_WINDOW = "outside-window"
CAPPED = "capped"


class Windows:
    """The waits of one engagement for its send window and for caps.

    No history from before windows and caps can hold one: a plan without a window never waits here, and nothing was
    refused as capped. So there is no patch.
    """

    def __init__(self, progress: Progress, holding: Holding) -> None:
        self._progress, self._holding, self._state = progress, holding, progress.state
        self._held = False

    async def wait(self, step: Step) -> bool:
        """Wait, with a stated reason, until the step may leave by its window; no longer than it is worth sending.

        True when it was held, here or by ``refused``: what was known of it before is to be looked at again.
        """
        while not self._is_kept_back(step):
            opens = self._opens_at(self._progress.now)
            if opens <= self._progress.now:
                break
            await self._hold(step, OUTSIDE_WINDOW, f"the send window opens {self._spoken(opens)}", opens)
        held, self._held = self._held, False
        return held

    def is_open(self) -> bool:
        """Whether a message may leave now."""
        return self._opens_at(self._progress.now) <= self._progress.now

    def closes_at(self) -> datetime | None:
        """When what leaves now comes too late; None without a window, or where it stays open for a week."""
        engagement = self._progress.engagement
        window = engagement.plan.send_window
        return None if window is None else closes_at(window, window.clock(engagement.zone), self._progress.now)

    async def refused(self, step: Step, failure: SendFailure) -> None:
        """The claim found the window closed, or a cap used up: wait until that is over."""
        until = failure.until or self._progress.now + self._progress.engagement.timing.provider_pause
        if failure.code == OUTSIDE_WINDOW:
            until = self._opens_at(max(until, self._progress.now))
            await self._hold(step, OUTSIDE_WINDOW, f"its turn came too late; {self._opening_in_words(until)}", until)
        else:
            await self._hold(step, CAPPED, f"{failure.reason}; it frees {self._spoken(until)}", until)

    async def ask_again(self, step: Step) -> None:
        """Ask the provider whether the candidate has answered meanwhile, where it can be asked."""
        progress, live = self._progress, self._state.live_run()
        can_ask = progress.engagement.route.capabilities.can_read_runs
        if self._is_kept_back(step) or live is None or not live.receipt.run_id or not can_ask:
            return
        account, run_id = progress.engagement.route.account, live.receipt.run_id
        template = self._holding.question_in_passing(step)
        run = await self._holding.persist(
            lambda: progress.calls.check_flow_run(
                RunQuestion(account=account, run_id=run_id, template=template, at=progress.now),
                "ask again before what was held leaves",
            ),
            step,
            refusal_is_answer=True,
        )
        if run is not None and not progress.is_settled():
            self._holding.hear_template(template, run.template)
            progress.reader().take_run(run)

    async def _hold(self, step: Step, rule: str, reason: str, until: datetime) -> None:
        progress, state = self._progress, self._state
        self._held = True
        if until <= progress.now or self._is_kept_back(step):
            return
        await self._holding.gates.leave()  # whoever was let go first must not keep the others waiting
        if self._is_kept_back(step):
            return
        state.put_on_hold(progress.now, rule, f"{step.name}: {reason}")
        stop = earliest(until, step.expires, progress.ends_at) or until
        plan = state.plan

        def is_over() -> bool:  # another plan may have another window
            return state.pause is not None or state.plan is not plan

        while not self._is_kept_back(step) and not is_over() and progress.now < stop:
            waiting_for = "the send window to open" if rule == OUTSIDE_WINDOW else "the cap to free"
            await progress.wait(Stage.HELD, waiting_for, stop, is_over)
            await self._holding.gates.confirm_end()
        if state.pause is not None:
            state.release(progress.now, "paused")
        elif not self._holding.expire_if_due(step):
            state.release(progress.now, "it is looked at again")

    def _is_kept_back(self, step: Step) -> bool:
        """Whether the step is not to leave any more, or not before an operator resumes."""
        return self._progress.is_settled() or self._state.pause is not None or step.objection() is not None

    def _opens_at(self, instant: datetime) -> datetime:
        engagement = self._progress.engagement
        window = engagement.plan.send_window
        return instant if window is None else opens_at(window, window.clock(engagement.zone), instant)

    def _opening_in_words(self, until: datetime) -> str:
        return f"the send window opens {self._spoken(until)}" if until > self._progress.now else "the window is open"

    def _spoken(self, instant: datetime) -> str:
        engagement = self._progress.engagement
        window = engagement.plan.send_window
        local = instant.astimezone(window.clock(engagement.zone)) if window else instant
        its_time = f" ({local:%a %H:%M} there)" if window else ""
        return f"{instant:%Y-%m-%d %H:%M} UTC{its_time}"
