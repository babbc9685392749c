"""A workflow that puts a candidate's word and audit lines wherever either can be; for the tests of keys."""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from domain.audit import AuditLine

QUEUE = "audited"
_LIMIT = timedelta(seconds=10)


@workflow.defn(name="audited")
class AuditedWorkflow:
    """Hands ``word`` to an activity, waits a little, then for a signal, and gives the word back."""

    def __init__(self) -> None:
        self._heard = ""
        self._waits = False

    @workflow.signal(name="tell")
    def tell(self, word: str) -> None:
        self._heard = word

    @workflow.update(name="ask")
    async def ask(self, word: str) -> str:
        await workflow.wait_condition(lambda: self._waits)
        return word + "-updated"

    @workflow.run
    async def run(self, word: str) -> str:
        await workflow.execute_activity(
            "tiny-activity", word, result_type=str, start_to_close_timeout=_LIMIT, summary=AuditLine("why an activity")
        )
        try:
            await workflow.execute_activity("tiny-failure", word, result_type=str, start_to_close_timeout=_LIMIT)
        except ActivityError:
            await workflow.sleep(0.01, summary=AuditLine("why a pause"))
        self._waits = True
        await workflow.wait_condition(
            lambda: bool(self._heard), timeout=timedelta(hours=1), timeout_summary=AuditLine("why a wait")
        )
        return word + self._heard
