"""What the demo is made of: every example plan, only faster, and somebody for each of its stories."""

from itertools import pairwise

import pytest

from runtime.yaml_source import load_yaml_model
from starter.batch import read_batch
from starter.cli.demo.pace import paced
from starter.cli.demo.story import CASTS, EXAMPLES, PLANS, Cast, Story
from starter.plans_file import load_plan

EACH = pytest.mark.parametrize("cast", CASTS, ids=lambda cast: cast.name)


def test_the_demo_runs_every_example_plan() -> None:
    assert {cast.name for cast in CASTS} == {path.stem for path in PLANS.glob("*.yaml")} - {"prices-eur"}


@EACH
def test_in_the_demo_a_plan_differs_by_its_waits_and_its_window_alone(cast: Cast) -> None:
    plan = load_plan(cast.plan)
    quick = paced(plan)
    assert quick.send_window is None
    restored = quick.model_copy(
        update={"follow_ups": plan.follow_ups, "silence": plan.silence, "send_window": plan.send_window}
    )
    assert restored == plan
    assert [one.template for one in quick.follow_ups] == [one.template for one in plan.follow_ups]


@EACH
def test_in_the_demo_waits_are_seconds_and_the_longer_one_stays_the_longer(cast: Cast) -> None:
    plan, quick = load_plan(cast.plan), paced(load_plan(cast.plan))
    waits = [one.after for one in plan.follow_ups if one.after is not None] + [plan.silence.after]
    short = [one.after for one in quick.follow_ups if one.after is not None] + [quick.silence.after]
    assert all(6 < wait.total_seconds() < 30 for wait in short)
    in_order = sorted(zip(waits, short, strict=True))
    assert all(a[1] < b[1] for a, b in pairwise(in_order) if a[0] < b[0])


def test_every_candidate_of_the_demo_has_an_expected_end_and_every_end_a_candidate() -> None:
    story = load_yaml_model(EXAMPLES / "story.yaml", Story).root
    references = []
    for cast in CASTS:
        asked, mistakes = read_batch(cast.plan, cast.candidates, tenant="acme", line=cast.line, region=None)
        assert mistakes == []
        assert len(asked) > 3
        references += [one.request.reference for one in asked]
    assert sorted(references) == sorted(story)
    assert any(expected.worth_reading for expected in story.values())
