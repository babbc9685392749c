"""What an engagement costs at Temporal, counted from its history: Actions, events, workflow tasks, payload bytes.

Actions are what Temporal Cloud bills. They are counted as its price list and the server's own metric do, from the
events that each of them leaves behind. What leaves none is not counted: queries, heartbeats, rejected updates.
"""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Event = Mapping[str, object]
"""One event as a history's JSON has it."""

_PREFIX = "EVENT_TYPE_"
_OF_THE_CALENDAR = frozenset({"WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED", "WORKFLOW_EXECUTION_OPTIONS_UPDATED"})
"""Written by whoever lets time pass for a recording; an engagement that waits its days has none of them."""
_ONE_EACH = frozenset(
    {
        "WORKFLOW_EXECUTION_STARTED",
        "ACTIVITY_TASK_SCHEDULED",
        "TIMER_STARTED",
        "WORKFLOW_EXECUTION_SIGNALED",
        "WORKFLOW_EXECUTION_UPDATE_ACCEPTED",
        "WORKFLOW_PROPERTIES_MODIFIED",
        "START_CHILD_WORKFLOW_EXECUTION_INITIATED",
    }
)
_CHANGE_VERSION = {"TemporalChangeVersion"}


@dataclass(frozen=True)
class Cost:
    """What one run cost."""

    actions: int
    events: int
    workflow_tasks: int
    payload_bytes: int
    """Of every payload in its history, as it lies there: of ours, all are sealed."""
    activities: int
    signals: int

    def __add__(self, other: "Cost") -> "Cost":
        """The cost of both."""
        return Cost(*(mine + its for mine, its in zip(_values(self), _values(other), strict=True)))


def cost_of(events: Sequence[Event]) -> Cost:
    """The cost of one run by its history; the calendar's own events are left out."""
    lived = [event for event in events if _kind(event) not in _OF_THE_CALENDAR]
    kinds = [_kind(event) for event in lived]
    return Cost(
        actions=actions(lived),
        events=len(lived),
        workflow_tasks=kinds.count("WORKFLOW_TASK_COMPLETED"),
        payload_bytes=sum(len(data) for event in lived for data in _payloads(event)),
        activities=kinds.count("ACTIVITY_TASK_SCHEDULED"),
        signals=kinds.count("WORKFLOW_EXECUTION_SIGNALED"),
    )


def actions(events: Sequence[Event]) -> int:
    """How many Actions these events stand for."""
    count, tasks_with_markers = 0, set[str]()
    for event in events:
        kind, its = _kind(event), _attributes(event)
        if kind in _ONE_EACH:
            count += 1
        elif kind == "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES":
            count += int(_indexed(its) != _CHANGE_VERSION)
        elif kind == "ACTIVITY_TASK_STARTED":
            count += max(0, _number(its.get("attempt", 1)) - 1)  # each retry
        elif kind == "MARKER_RECORDED":
            tasks_with_markers.add(str(its.get("workflowTaskCompletedEventId", "")))
        elif kind == "WORKFLOW_TASK_COMPLETED":
            metering = _members(its.get("meteringMetadata"))
            count += _number(metering.get("nonfirstLocalActivityExecutionAttempts", 0))
    return count + len(tasks_with_markers)


def read(file: Path) -> Sequence[Event]:
    """The events of a history that was kept as JSON."""
    events: list[Event] = json.loads(file.read_text())["events"]
    return events


def _kind(event: Event) -> str:
    return str(event["eventType"]).removeprefix(_PREFIX)


def _attributes(event: Event) -> Mapping[str, object]:
    return next((_members(value) for name, value in event.items() if name.endswith("EventAttributes")), {})


def _indexed(attributes: Mapping[str, object]) -> set[str]:
    return set(_members(_members(attributes.get("searchAttributes")).get("indexedFields")))


def _payloads(value: object) -> Iterator[bytes]:
    """Every payload below but search attributes, which are indexed and never sealed."""
    if isinstance(value, Mapping):
        metadata = value.get("metadata")
        if isinstance(metadata, Mapping) and "encoding" in metadata:
            if "type" not in metadata:
                yield base64.b64decode(str(value.get("data", "")))
            return
        for inner in value.values():
            yield from _payloads(inner)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for inner in value:
            yield from _payloads(inner)


def _members(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _number(value: object) -> int:
    return int(value) if isinstance(value, int | str) else 0


def _values(cost: Cost) -> tuple[int, ...]:
    return (cost.actions, cost.events, cost.workflow_tasks, cost.payload_bytes, cost.activities, cost.signals)
