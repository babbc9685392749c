"""Tells the stories of recorded journeys by the code of now: ``python -m tests.stories.telling`` accepts them."""

import asyncio
import json
import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from temporalio import workflow
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from domain import names
from domain.engagements import Engagement
from domain.outcomes import EngagementResult
from domain.snapshot import EngagementSnapshot
from domain.state import EngagementState
from runtime.codec import AesGcmCodec
from runtime.temporal import data_converter, plugin
from starter import trace
from starter.cli.stories import WIDTH, print_story
from starter.story import tell
from starter.views import Story
from tests.workflow.conftest import TEST_KEYS
from workflows.engagement import EngagementWorkflow

HERE = Path(__file__).parent
HISTORIES, STORIES = HERE / "histories", HERE / "told"
CONVERTER = data_converter(AesGcmCodec(TEST_KEYS))
AN_HOUR = timedelta(hours=1)
"""So long after its last event is an open engagement looked at."""
_RECORDED_LINE = re.compile(r"line-[0-9a-f]{8}")
_told: dict[str, Story] = {}
_replayed: list["KeptWorkflow"] = []


@workflow.defn(name=names.CANDIDATE_ENGAGEMENT, sandboxed=False)
class KeptWorkflow(EngagementWorkflow):
    """The workflow of now, kept after its replay so that it can be asked where it stands.

    One that waits is torn down when its history ends, which looks to it as if somebody cancelled it: how it stood is
    kept before.
    """

    stood: EngagementSnapshot

    @workflow.init
    def __init__(self, engagement: Engagement, state: EngagementState | None = None) -> None:
        super().__init__(engagement, state)
        _replayed.append(self)

    @workflow.run
    async def run(self, engagement: Engagement, state: EngagementState | None = None) -> EngagementResult:
        """As ever."""
        keeping = asyncio.create_task(workflow.wait_condition(self._keep))
        try:
            return await EngagementWorkflow.run(self, engagement, state)
        finally:
            keeping.cancel()

    def _keep(self) -> bool:
        """Asked at the end of every task, so that the last answer is how it stands."""
        self.stood = self.snapshot()
        return False


async def snapshot_of(history: WorkflowHistory) -> EngagementSnapshot:
    """Where the code of now says that this engagement stands; the instants are those of the recording."""
    await Replayer(workflows=[KeptWorkflow], plugins=[plugin(CONVERTER)]).replay_workflow(history)
    kept = _replayed.pop()
    return (
        kept.snapshot() if history.events[-1].HasField("workflow_execution_completed_event_attributes") else kept.stood
    )


async def _summary(event: HistoryEvent) -> str:
    if not event.user_metadata.HasField("summary"):
        return ""
    (text,) = await CONVERTER.decode([event.user_metadata.summary], [str])
    return str(text)


async def story_of(name: str) -> Story:
    """The story of a recorded journey."""
    if name not in _told:
        _told[name] = await _tell(name)
    return _told[name]


async def _tell(name: str) -> Story:
    text = (HISTORIES / f"{name}.json").read_text()
    started = json.loads(text)["events"][0]["workflowExecutionStartedEventAttributes"]
    history = WorkflowHistory.from_json(started["workflowId"], text)
    entries = await trace.from_history(history.events, _summary)
    snapshot = await snapshot_of(history)
    named = _RECORDED_LINE.sub("recruiting", snapshot.model_copy(update={"provider": ""}).model_dump_json())
    return tell(EngagementSnapshot.model_validate_json(named), entries, entries[-1].at + AN_HOUR)


def on_paper(story: Story) -> str:
    """As the command line prints it where nobody's terminal sets the width."""
    console = Console(highlight=False, width=WIDTH, color_system=None, force_terminal=False)
    with console.capture() as captured:
        print_story(story, console)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


async def accept(recorded: Sequence[str]) -> None:
    """Keep the stories as they are told now."""
    STORIES.mkdir(exist_ok=True)
    for name in recorded:
        (STORIES / f"{name}.txt").write_text(on_paper(await story_of(name)))


if __name__ == "__main__":
    asyncio.run(accept(sorted(path.stem for path in HISTORIES.glob("*.json"))))
