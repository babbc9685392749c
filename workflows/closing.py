"""The end of an engagement: nothing goes on at the provider, the outcome is final, the tenant's system knows."""

from collections.abc import Callable

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from domain import names
from domain.ats import outcome_notice
from domain.calls import Closed, CloseRequest, EndConversation
from domain.outcomes import EngagementOutcome, EngagementResult, Settlement
from domain.sends import LedgerState
from domain.snapshot import EngagementSnapshot
from domain.state import Stage
from workflows.holding import Holding
from workflows.notices import Notices
from workflows.progress import Progress
from workflows.story import why_so

UNTOUCHED_BY_PROVIDER = (EngagementOutcome.COMPLETED, EngagementOutcome.DECLINED)
"""Outcomes after which the provider's own flow has ended by itself."""


class Closing:
    """The close of one engagement."""

    def __init__(self, progress: Progress, holding: Holding, notices: Notices) -> None:
        self._progress, self._holding, self._notices, self._state = progress, holding, notices, progress.state

    async def close(self, snapshot: Callable[[], EngagementSnapshot]) -> EngagementResult:
        """Make the outcome final, release the contact, and only then tell the tenant's system."""
        settlement = self._state.settlement
        if settlement is None:
            raise ApplicationError("closing without an outcome is a defect", type="Defect")
        await self._holding.gates.leave()
        await self._end_conversation(settlement)
        result = self._result(settlement)
        if not self._state.closed:
            request = CloseRequest(
                workflow_id=workflow.info().workflow_id,
                contact_id=self._progress.engagement.contact_id,
                result=result,
                decisions=tuple(self._state.decisions),
                snapshot=snapshot().model_dump_json(),
                tells_ats=self._state.fewer_steps and self._is_ats_to_be_told(),
                at=self._progress.now,
            )
            why = why_so(settlement, self._state)
            self._take_closed(await self._progress.finish(self._progress.calls.close(request, why), recall=False))
        self._progress.show(Stage.CLOSED, "")
        await self._notify_ats(result)
        if self._state.notices:
            await self._notices.finish()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._result(settlement)

    async def _end_conversation(self, settlement: Settlement) -> None:
        """What the provider still runs ends with the engagement, or its bot would go on with the candidate."""
        live, capabilities = self._state.live_run(), self._progress.engagement.route.capabilities
        opted_out = settlement.outcome is EngagementOutcome.OPTED_OUT
        thread_id = self._state.thread.thread_id if self._state.thread else ""
        natural = settlement.outcome in UNTOUCHED_BY_PROVIDER and settlement.rule != names.MARK_ANSWERED
        if self._state.conversation_ended or not capabilities.can_cancel_runs or natural:
            return
        if (live is None or not live.receipt.run_id) and not (opted_out and thread_id):
            return
        self._progress.show(Stage.CLOSING, "the provider to end the conversation")
        request = EndConversation(
            account=self._progress.engagement.route.account,
            run_id=live.receipt.run_id if live else "",
            thread_id=thread_id,
            pause_thread=opted_out,
            at=self._progress.now,
        )
        try:
            await self._progress.finish(self._progress.calls.end_conversation(request), recall=False)
            self._progress.log("ended", "the conversation at the provider was ended")
        except ActivityError:
            self._progress.log("not-ended", "the provider could not be told to end the conversation")
        self._state.conversation_ended = True

    def _take_closed(self, closed: Closed | None) -> None:
        """An answer without a word about the tenant's system leaves it to be told."""
        self._state.closed = True
        if closed is not None and (closed.told or closed.refused):
            self._state.ats_told = True
            if closed.refused:
                self._log_ats_not_told()

    def _is_ats_to_be_told(self) -> bool:
        return self._progress.engagement.notify_ats and not self._state.ats_told

    async def _notify_ats(self, result: EngagementResult) -> None:
        if not self._is_ats_to_be_told():
            return
        self._progress.stop_waiting()
        notice = outcome_notice(workflow.info().workflow_id, result, self._progress.now)
        try:
            await self._progress.finish(self._progress.calls.notify_ats(notice), recall=False)
        except ActivityError:
            self._log_ats_not_told()
        self._state.ats_told = True

    def _log_ats_not_told(self) -> None:
        self._progress.log("ats-not-told", "the tenant's system did not take the outcome")

    def _result(self, settlement: Settlement) -> EngagementResult:
        return EngagementResult(
            tenant=self._progress.engagement.tenant,
            reference=self._progress.engagement.reference,
            settlement=settlement,
            sends=sum(s.state is LedgerState.SENT for s in self._state.sends),
        )
