"""The least workflow that uses every way in which text can reach Temporal; for the runtime's own tests."""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

QUEUE = "tiny"
_LIMIT = timedelta(seconds=10)


@workflow.defn(name="tiny")
class TinyWorkflow:
    """Hands ``word`` to activities, waits for a signal, and puts the word wherever a payload can be."""

    def __init__(self) -> None:
        self._heard: str | None = None

    @workflow.signal(name="tell")
    def tell(self, word: str) -> None:
        self._heard = word

    @workflow.update(name="ask")
    def ask(self, word: str) -> str:
        return word + "-updated"

    @workflow.query(name="look")
    def look(self) -> str:
        return "heard nothing" if self._heard is None else "heard something"

    @workflow.run
    async def run(self, word: str) -> str:
        workflow.logger.info("workflow_line")
        answer: str = await workflow.execute_activity(
            "tiny-activity", word, result_type=str, start_to_close_timeout=_LIMIT, summary=word + "-summary"
        )
        try:
            await workflow.execute_activity("tiny-failure", word, result_type=str, start_to_close_timeout=_LIMIT)
        except ActivityError:
            workflow.upsert_memo({"kept": word + "-memo"})
        await workflow.wait_condition(lambda: self._heard is not None)
        workflow.logger.info("workflow_line_after_signal")
        return answer
