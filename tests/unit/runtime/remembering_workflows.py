"""Workflows that share their module with every run, and one that breaks the rule; for the tests of the sandbox."""

import time
from uuid import uuid4

from temporalio import workflow

LOADED_AS = uuid4().hex
"""Another one each time that the module is loaded."""
last_word = ""


@workflow.defn(name="loaded-as")
class LoadedAsWorkflow:
    @workflow.run
    async def run(self) -> str:
        return LOADED_AS


@workflow.defn(name="clock-reading")
class ClockReadingWorkflow:
    """Reads the clock."""

    @workflow.run
    async def run(self) -> str:
        return self.clock()

    @staticmethod
    def clock() -> str:
        return str(time.time())


@workflow.defn(name="remembering")
class RememberingWorkflow:
    """Leaves a word where the next run would find it."""

    @workflow.run
    async def run(self, word: str) -> str:
        global last_word  # the defect that the sandbox is to find
        found, last_word = last_word, word
        return found
