"""Engagements that began under earlier code go on under this code."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from domain import names
from domain.calls import Admission
from domain.engagements import Engagement
from domain.outcomes import EngagementOutcome, EngagementResult
from domain.state import EngagementState
from runtime.codec import AesGcmCodec
from runtime.temporal import data_converter, plugin
from tests.replay.journeys import JOURNEYS
from tests.replay.record import STORY
from tests.stories.journeys import JOURNEYS as STORIES
from tests.workflow.conftest import TEST_KEYS
from workflows.engagement import EngagementWorkflow
from workflows.gate import GateWorkflow

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*/*.json"))
TOLD_AS_STORIES = {EngagementOutcome.WITHDRAWN}


def history(path: Path) -> WorkflowHistory:
    """As Temporal keeps it, under the id it ran under: a gate's holds the template or the account that it is about."""
    text = path.read_text()
    started = json.loads(text)["events"][0]["workflowExecutionStartedEventAttributes"]
    return WorkflowHistory.from_json(started["workflowId"], text)


def replayer(*workflows: type) -> Replayer:
    return Replayer(workflows=list(workflows), plugins=[plugin(data_converter(AesGcmCodec(TEST_KEYS)))])


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
async def test_a_stored_history_replays(path: Path) -> None:
    await replayer(EngagementWorkflow, GateWorkflow).replay_workflow(history(path))


def test_every_outcome_has_a_journey_and_every_journey_a_history() -> None:
    assert {outcome for _, outcome in JOURNEYS.values()} == set(EngagementOutcome) - TOLD_AS_STORIES
    assert {path.stem for path in HISTORIES} >= {*JOURNEYS, *(f"{STORY}{name}" for name in STORIES)}


@pytest.mark.parametrize("journey", ["completed", "completed-by-itself", "no-reply", "refused", "opted-out"])
async def test_one_that_a_worker_of_the_release_before_began_goes_on_as_it_began(journey: str) -> None:
    """The caller's release said more than that worker could read: it asked the patch and the admission all the same."""
    stored = history(Path(__file__).parent / "histories" / "0.4" / f"{journey}.json")
    converter = data_converter(AesGcmCodec(TEST_KEYS))
    given = stored.events[0].workflow_execution_started_event_attributes.input.payloads
    (engagement,) = await converter.decode(given[:1], [Engagement])
    assert (engagement.admission, engagement.fewer_steps) == (None, False)
    said = engagement.model_copy(update={"admission": Admission(admitted=True), "fewer_steps": True})
    given[0].CopyFrom((await converter.encode([said]))[0])
    await replayer(EngagementWorkflow).replay_workflow(stored)


@workflow.defn(name=names.CANDIDATE_ENGAGEMENT, sandboxed=False)
class DivergentWorkflow(EngagementWorkflow):
    """Waits a second before it begins: a change that open engagements could not survive."""

    @workflow.run
    async def run(self, engagement: Engagement, state: EngagementState | None = None) -> EngagementResult:
        """Diverge, then go on as ever."""
        await workflow.sleep(timedelta(seconds=1))
        return await EngagementWorkflow.run(self, engagement, state)


async def test_a_divergent_workflow_is_caught() -> None:
    path = next(path for path in HISTORIES if path.stem == "completed")
    with pytest.raises(workflow.NondeterminismError):
        await replayer(DivergentWorkflow).replay_workflow(history(path))


def test_stored_histories_go_where_they_should_and_retry_what_they_may() -> None:
    path = next(path for path in HISTORIES if path.stem == "completed")
    scheduled = [
        event["activityTaskScheduledEventAttributes"]
        for event in json.loads(path.read_text())["events"]
        if "activityTaskScheduledEventAttributes" in event
    ]
    queues = {each["activityType"]["name"]: each["taskQueue"]["name"].split(":")[0] for each in scheduled}
    assert queues == {
        "admit-engagement": "engagements",
        "ensure-template-approved": "lookups",
        "open-thread": "lookups",
        "trigger-flow": "sends",
        "check-flow-run": "lookups",
        "close-engagement": "engagements",
        "notify-ats": "engagements",
    }
    send = next(each for each in scheduled if each["activityType"]["name"] == "trigger-flow")
    assert send["startToCloseTimeout"] == "30s"
    assert set(send["retryPolicy"]["nonRetryableErrorTypes"]) >= {
        "OutcomeUnknown",
        "TemporalTimeout:StartToClose",
        "TemporalTimeout:Heartbeat",
        "WorkerShutdown",
        "ActivityPause",
        "ActivityReset",
    }
    assert "heartbeatTimeout" not in send or send["heartbeatTimeout"] == "0s"
