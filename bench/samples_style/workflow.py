"""The engagement, as short as the samples are."""

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from bench.samples_style.activities import Calls
    from bench.samples_style.models import Candidacy, Outcome, Webhook

_LIMIT = timedelta(seconds=30)
_ENDS = {"finished": "completed", "timeout": "no-reply", "cancelled": "declined", "exception": "unreachable"}


@workflow.defn(name="samples-style-engagement")
class SamplesStyleEngagement:
    """Sends, waits for the answer or for the end of patience, tells the recruiter's system."""

    def __init__(self) -> None:
        self._webhooks: list[Webhook] = []

    @workflow.run
    async def run(self, candidacy: Candidacy) -> Outcome:
        """The whole life of one engagement."""
        status = await workflow.execute_activity_method(
            Calls.template_status, candidacy.template_id, start_to_close_timeout=_LIMIT
        )
        if status != "APPROVED":
            return await self._end(Outcome(reference=candidacy.reference, outcome="template-not-approved"))
        run_id = await workflow.execute_activity_method(Calls.trigger_flow, candidacy, start_to_close_timeout=_LIMIT)
        try:
            await workflow.wait_condition(lambda: self._is_over(run_id), timeout=candidacy.silence)
        except TimeoutError:
            return await self._end(Outcome(reference=candidacy.reference, outcome="no-reply"))
        run = await workflow.execute_activity_method(Calls.read_run, run_id, start_to_close_timeout=_LIMIT)
        outcome = _ENDS.get(run.status, "no-reply")
        return await self._end(Outcome(reference=candidacy.reference, outcome=outcome, answers=run.state))

    @workflow.signal
    async def webhook(self, webhook: Webhook) -> None:
        """A webhook came."""
        self._webhooks.append(webhook)

    def _is_over(self, run_id: str) -> bool:
        return any(one.id == run_id and one.status in _ENDS for one in self._webhooks)

    async def _end(self, outcome: Outcome) -> Outcome:
        await workflow.execute_activity_method(Calls.tell_ats, outcome, start_to_close_timeout=_LIMIT)
        return outcome
