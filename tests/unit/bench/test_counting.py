"""Actions, events and bytes are counted as Temporal counts them."""

import base64

from bench.costs import newest, recorded
from bench.counting import Event, actions, cost_of


def event(kind: str, attributes: str = "", **its: object) -> Event:
    return {"eventType": f"EVENT_TYPE_{kind}", **({f"{attributes}EventAttributes": its} if attributes else {})}


def sealed(length: int) -> dict[str, object]:
    return {"metadata": {"encoding": "YmluYXJ5L2VuY3J5cHRlZA=="}, "data": base64.b64encode(bytes(length)).decode()}


def upserted(*names: str) -> Event:
    indexed = {name: {"metadata": {"encoding": "anNvbi9wbGFpbg==", "type": "S2V5d29yZA=="}} for name in names}
    kind = "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES"
    return event(kind, "upsertWorkflowSearchAttributes", searchAttributes={"indexedFields": indexed})


def test_what_is_one_action() -> None:
    for kind in (
        "WORKFLOW_EXECUTION_STARTED",
        "ACTIVITY_TASK_SCHEDULED",
        "TIMER_STARTED",
        "WORKFLOW_EXECUTION_SIGNALED",
        "WORKFLOW_EXECUTION_UPDATE_ACCEPTED",
        "WORKFLOW_PROPERTIES_MODIFIED",
        "START_CHILD_WORKFLOW_EXECUTION_INITIATED",
    ):
        assert actions([event(kind)]) == 1, kind
    assert actions([upserted("EngagementStage", "NextActionAt")]) == 1


def test_what_is_none() -> None:
    for kind in ("WORKFLOW_TASK_STARTED", "TIMER_CANCELED", "ACTIVITY_TASK_COMPLETED", "WORKFLOW_EXECUTION_COMPLETED"):
        assert actions([event(kind)]) == 0, kind
    assert actions([upserted("TemporalChangeVersion")]) == 0


def test_each_retry_of_an_activity_is_one() -> None:
    assert actions([event("ACTIVITY_TASK_STARTED", "activityTaskStarted", attempt=1)]) == 0
    assert actions([event("ACTIVITY_TASK_STARTED", "activityTaskStarted", attempt=4)]) == 3


def test_local_activities_and_patches_of_one_task_are_one_together() -> None:
    first, second = (event("MARKER_RECORDED", "markerRecorded", workflowTaskCompletedEventId=n) for n in ("4", "10"))
    assert actions([first, first, first]) == 1
    assert actions([first, first, second]) == 2
    metered = {"nonfirstLocalActivityExecutionAttempts": 2}
    assert actions([event("WORKFLOW_TASK_COMPLETED", "workflowTaskCompleted", meteringMetadata=metered)]) == 2


def test_what_lets_time_pass_for_a_recording_costs_nothing() -> None:
    calendar = [
        event("WORKFLOW_EXECUTION_OPTIONS_UPDATED"),
        event("WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED"),
    ]
    cost = cost_of([event("WORKFLOW_EXECUTION_STARTED"), *calendar])
    assert (cost.actions, cost.events) == (1, 1)


def test_bytes_are_those_of_payloads_wherever_they_stand() -> None:
    started = event(
        "WORKFLOW_EXECUTION_STARTED", "workflowExecutionStarted", input={"payloads": [sealed(100), sealed(7)]}
    )
    summary = {**event("TIMER_STARTED", "timerStarted"), "userMetadata": {"summary": sealed(30)}}
    assert cost_of([started, summary, upserted("Line")]).payload_bytes == 137


def test_a_recorded_journey_is_counted_as_its_server_counted_it() -> None:
    cost = recorded(newest().parent / "0.3")["completed"]
    assert (cost.actions, cost.events, cost.workflow_tasks, cost.activities, cost.signals) == (12, 55, 9, 7, 1)
