"""What counts as the way to an open engagement, and what is flat."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from bench.depth import FULL, QUICK
from bench.figures import Verdict
from bench.open_engagements import FULLY, QUICKLY, Delays, Seen, after, report, sum_of
from bench.processes import Memory

BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
SIGNALED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
STARTED = EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED
COMPLETED = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
FAILED = EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED


def history(*events: tuple[EventType.ValueType, int]) -> list[HistoryEvent]:
    """Events, each so many milliseconds after the beginning."""
    made = []
    for number, (kind, at) in enumerate(events, start=1):
        event = HistoryEvent(event_id=number, event_type=kind)
        event.event_time.FromDatetime(BEGAN + timedelta(milliseconds=at))
        made.append(event)
    return made


def reached(events: Sequence[HistoryEvent], at: int) -> tuple[int, int] | None:
    """Rounded, for a webhook that left so many milliseconds after the beginning."""
    found = after(events, BEGAN.timestamp() + at / 1000)
    return None if found is None else (round(found[0]), round(found[1]))


def test_it_ends_with_the_task_that_read_the_signal() -> None:
    events = history((COMPLETED, 0), (SIGNALED, 110), (STARTED, 112), (COMPLETED, 120), (COMPLETED, 300))
    assert reached(events, 100) == (10, 20)


def test_of_two_webhooks_each_has_its_own_signal() -> None:
    events = history((SIGNALED, 110), (COMPLETED, 120), (SIGNALED, 510), (COMPLETED, 530))
    assert reached(events, 100) == (10, 20)
    assert reached(events, 500) == (10, 30)


def test_it_is_not_there_before_its_task_has_ended() -> None:
    assert reached(history((SIGNALED, 110), (COMPLETED, 120)), 500) is None
    assert reached(history((COMPLETED, 0), (SIGNALED, 110), (STARTED, 112)), 100) is None
    assert reached(history((SIGNALED, 110), (STARTED, 112), (FAILED, 115)), 100) is None


def test_a_number_of_a_worker_is_summed_over_its_labels() -> None:
    told = 'temporal_sticky_cache_size{queue="a"} 20\ntemporal_sticky_cache_size{queue="b"} 5\n'
    assert sum_of(told, "temporal_sticky_cache_size") == 25
    assert sum_of(told, "temporal_sticky_cache") == 0


def seen(memory: float, again: float) -> Seen:
    held, delays = Memory(memory + 40, memory), Delays((1.0,), (again,))
    return Seen(held, held, delays, delays)


@pytest.mark.parametrize(
    ("memory", "delay", "verdict"),
    [
        (109.0, 10.9, Verdict.MET),
        (111.0, 10.0, Verdict.MISSED),
        (100.0, 11.1, Verdict.MISSED),
        (80.0, 8.0, Verdict.MET),
    ],
)
def test_a_tenth_more_than_at_the_least_size_misses_the_goal(memory: float, delay: float, verdict: Verdict) -> None:
    least, most = (f"{size:,} open" for size in QUICKLY.sizes)
    rounds = {least: [seen(100, 10)], most: [seen(memory, delay)]}
    assert report(FULL, QUICKLY, rounds, (), "in memory").verdict is verdict
    assert report(QUICK, QUICKLY, rounds, (), "in memory").verdict is Verdict.SHOWN


def test_whoever_is_heard_afresh_was_let_go_of_before() -> None:
    for depth, scale in ((FULL, FULLY), (QUICK, QUICKLY)):
        assert min(scale.sizes) - scale.cached >= depth.rounds * scale.asked, "else some are kept since the warm-up"
        assert scale.cached >= scale.asked, "else some are let go of before they hear again"
