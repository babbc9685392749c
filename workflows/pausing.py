"""An operator's pause: nothing leaves, everything is heard, and what moves by it are deadlines alone."""

from domain.state import Stage
from workflows.gates import AtGates
from workflows.progress import Progress
from workflows.steps import Step

WAITING_FOR = "somebody to resume it"


class Pausing:
    """The pauses of one engagement. The state says whether one is in force; here it is waited out."""

    def __init__(self, progress: Progress, gates: AtGates) -> None:
        self._progress, self._gates, self._state = progress, gates, progress.state

    async def wait_out(self, step: Step) -> bool:
        """Wait until the engagement is resumed, ends, or the step is no longer worth sending. True when it waited.

        A gate is left meanwhile: who does not send must neither be let go first nor hold up the others there.
        """
        progress, state = self._progress, self._state
        if state.pause is None or progress.is_settled():
            return False
        await self._gates.leave()
        state.hold, state.needs_human = None, False
        end = min(step.expires, progress.ends_at)
        while not self._is_over() and not progress.is_settled() and progress.now < end:
            await progress.wait(Stage.HELD, WAITING_FOR, end, self._is_over)
            await self._gates.confirm_end()
        if self._goes_on():
            progress.show(Stage.OPENING, f"{step.name} to go on", end)
        return True

    async def listen(self) -> None:
        """One wait of a paused engagement that waits for its candidate; the longest duration does not move."""
        await self._progress.wait(Stage.AWAITING_ANSWER, WAITING_FOR, self._progress.ends_at, self._is_over)
        if self._goes_on():
            self._progress.show(Stage.AWAITING_ANSWER, "an answer")

    def _goes_on(self) -> bool:
        return self._state.pause is None and not self._progress.is_settled()

    def _is_over(self) -> bool:
        return self._state.pause is None
