"""A workflow that hands one word to an activity and another to another workflow; for the tests of the sandbox."""

from datetime import timedelta

from temporalio import workflow

QUEUE = "telling"
_LIMIT = timedelta(seconds=10)


@workflow.defn(name="telling")
class TellingWorkflow:
    """Tells ``other``, or where there is none waits until it is told."""

    def __init__(self) -> None:
        self._heard = ""

    @workflow.signal(name="tell")
    def tell(self, word: str) -> None:
        self._heard = word

    @workflow.run
    async def run(self, other: str) -> str:
        if not other:
            await workflow.wait_condition(lambda: bool(self._heard), timeout=_LIMIT, timeout_summary="a wait")
            return self._heard
        await workflow.execute_activity(
            "tiny-activity", "for-an-activity", result_type=str, start_to_close_timeout=_LIMIT, summary="an activity"
        )
        await workflow.get_external_workflow_handle(other).signal("tell", "for-another")
        return "a-result"
