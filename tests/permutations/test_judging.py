"""The judge itself: what went wrong is seen and told, and PostgreSQL is judged by the same model."""

import random
from dataclasses import replace
from random import Random

import pytest

from tests.permutations.permute import judged, permute, stage_at
from tests.permutations.scenes import Claim, Deliver, Engaged, Fact, Kind, Scene, Settle, Tick, Tie, random_scene
from tests.permutations.stage import Seen

ANSWER = Fact("0-0", Kind.ANSWER, 0, Tie.NAME)
READ = Fact("0-1", Kind.READ, 0, Tie.NAME)
ANSWERED = Scene(
    (Engaged("meta", "meta-1"), Engaged("meta", "meta-1")),
    (Tick((Claim(0), Claim(1), Settle(0, lost=False), Settle(1, lost=False))), Tick((Deliver((ANSWER, READ)),))),
)


async def played(url: str) -> Seen:
    async with stage_at(url) as stage:
        (seen,) = await stage.play([ANSWERED], 1)
    return seen


async def test_a_scene_that_went_right_is_not_blamed(sqlite_url: str) -> None:
    assert judged(ANSWERED, await played(sqlite_url), 1) == []


async def test_an_event_at_another_engagement_is_blamed(sqlite_url: str) -> None:
    seen = await played(sqlite_url)
    crossed = replace(seen, rows=seen.rows | {"0-0": ("relayed", seen.live[1].workflow_id)})
    assert [line.split(" should")[0] for line in judged(ANSWERED, crossed, 1)] == ["fact 0-0"]


async def test_an_answer_that_was_heard_twice_changed_or_lost_is_blamed(sqlite_url: str) -> None:
    seen = await played(sqlite_url)
    live = seen.live[0]
    live.heard.append("once more")
    assert [line.split(" should")[0] for line in judged(ANSWERED, seen, 1)] == ["engagement 0"]
    live.heard.pop()
    live.state.settlement = None
    assert [line.split(" should")[0] for line in judged(ANSWERED, seen, 1)] == ["engagement 0"]


async def test_a_message_status_that_went_back_is_blamed(sqlite_url: str) -> None:
    seen = await played(sqlite_url)
    seen.live[0].complaints.append("the message went back from read to sent")
    assert judged(ANSWERED, seen, 1) == ["engagement 0: the message went back from read to sent"]


def test_the_same_seed_makes_the_same_scenes() -> None:
    first, again = (random_scene(Random(7), "truora") for _ in range(2))  # noqa: S311 - an order, not a secret
    assert first == again


@pytest.mark.timeout(300)
@pytest.mark.parametrize("provider", ["meta", "recrubo", "truora"])
async def test_orders_on_postgresql_have_the_same_effects(postgres_url: str, provider: str) -> None:
    async with stage_at(postgres_url) as stage:
        assert (await permute(stage, provider, 100, random.getrandbits(32)))["relayed"]
