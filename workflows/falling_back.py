"""Leaves a line on which nothing reached the candidate, for the fallback line of the plan."""

from domain.fallback import Leaving
from workflows.holding import Holding
from workflows.listening import Listening
from workflows.progress import Progress


class FallingBack:
    """The way of one engagement to its fallback line.

    No history from before there were such lines comes here: only a plan that names one ever leaves a line.
    """

    def __init__(self, progress: Progress, holding: Holding, listening: Listening) -> None:
        self._progress, self._holding, self._listening = progress, holding, listening
        self._state = progress.state

    def is_due(self) -> bool:
        """Whether the line is to be left."""
        return self._state.leaving is not None and self._state.settlement is None

    async def go_over(self) -> None:
        """Bring the first line to its end and begin on the other: never are both open at once.

        What was in flight may have left meanwhile, or the provider, told to end a run, may have an answer: then it
        stays, or ends as it would have without another line.
        """
        progress, state = self._progress, self._state
        leaving, state.leaving = state.leaving, None
        if leaving is None:
            return
        ended = await self._end_runs()
        if not progress.is_settled():
            await self._holding.gates.leave()
        if progress.is_settled():
            return
        if state.was_delivered():
            progress.log("stays", f"something did arrive on {progress.engagement.route.line}; it goes on there")
        elif not ended or not progress.going_over.is_open(progress.now):
            self.end_as(leaving)
        else:
            progress.going_over.go(leaving, progress.now)
            progress.show_line()

    def end_as(self, leaving: Leaving, why: str = "") -> None:
        """End as it would have without another line."""
        reason = f"{leaving.reason}; {why}" if why else leaving.reason
        self._progress.settle(leaving.outcome, leaving.rule, reason)

    async def _end_runs(self) -> bool:
        """End what the provider still runs. False when a run ended well and cannot be asked for its answer."""
        capabilities = self._progress.engagement.route.capabilities
        while not self._progress.is_settled() and capabilities.can_cancel_runs:
            live = self._state.live_run()
            if live is None or not live.receipt.run_id:
                break
            if not await self._listening.end_run(live, refusal_is_answer=True):
                return not live.is_open
        return True
