"""A workflow whose module holds a list, so that no two runs may share it; for the tests of the sandbox."""

from temporalio import workflow

heard: list[str] = []


@workflow.defn(name="hoarding")
class HoardingWorkflow:
    @workflow.run
    async def run(self, word: str) -> list[str]:
        heard.append(word)
        return list(heard)
