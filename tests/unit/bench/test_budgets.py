"""No journey costs more than it did."""

from dataclasses import replace

from bench.budgets import budgets, overruns
from bench.costs import newest, recorded
from bench.counting import Cost

COST = Cost(actions=12, events=45, workflow_tasks=8, payload_bytes=1000, activities=7, signals=1)


def test_the_newest_recordings_are_within_their_budgets() -> None:
    assert overruns(recorded(newest()), budgets()) == []


def test_every_journey_with_a_budget_is_still_recorded() -> None:
    assert budgets().keys() <= recorded(newest()).keys()


def test_one_event_more_is_told_with_the_journey() -> None:
    assert overruns({"completed": replace(COST, events=46)}, {"completed": COST}) == [
        "completed: 46 events, 45 allowed"
    ]
    assert overruns({"completed": COST}, {"completed": COST}) == []


def test_payloads_may_vary_a_little() -> None:
    allowed = {"completed": COST}
    assert overruns({"completed": replace(COST, payload_bytes=1100)}, allowed) == []
    assert overruns({"completed": replace(COST, payload_bytes=1101)}, allowed) != []


def test_a_journey_without_a_budget_is_told() -> None:
    assert overruns({"new": COST}, {}) == ["new: has no budget"]
