"""Plays random scenes in batches, judges each by the model, and shrinks the first that went wrong."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random

from store.keys import KeyRing
from store.stores import Stores
from tests.permutations.model import Model
from tests.permutations.scenes import Claim, Scene, Tick, owner_of, random_scene
from tests.permutations.stage import Seen, Stage

KEYS = KeyRing(bytes(32), bytes(range(32)))
SIDE_BY_SIDE = 200
"""Scenes that share the gateway's rounds, as engagements do in life."""


@asynccontextmanager
async def stage_at(url: str) -> AsyncIterator[Stage]:
    """A stage on a migrated store."""
    async with Stores.open(url, KEYS) as stores:
        yield Stage(stores, KEYS)


async def permute(stage: Stage, provider: str, many: int, seed: int) -> Counter[str]:
    """Play and judge ``many`` orders; gives how often each state of an event and each outcome occurred.

    Raises ``AssertionError`` with the smallest scene that shows what went wrong.
    """
    occurred = Counter[str]()
    random = Random(seed)  # noqa: S311 - an order, not a secret
    for start in range(0, many, SIDE_BY_SIDE):
        pace = random.choice((1, 2, 2))
        scenes = [random_scene(random, provider) for _ in range(min(SIDE_BY_SIDE, many - start))]
        for scene, seen in zip(scenes, await stage.play(scenes, pace), strict=True):
            if judged(scene, seen, pace):
                small, wrong = await _smallest(stage, scene, pace)
                raise AssertionError(
                    f"seed {seed}, a signal every {pace} ticks: " + "; ".join(wrong) + f"\n{told(small)}"
                )
            occurred.update(state for state, _ in seen.rows.values())
            occurred.update(live.state.settlement.outcome for live in seen.live if live.state.settlement)
    return occurred


def judged(scene: Scene, seen: Seen, pace: int) -> list[str]:
    """What differs from the model, a line each."""
    model, wrong = Model(scene, pace), list[str]()
    for name in sorted(model.rows.keys() | seen.rows.keys()):
        row = model.rows.get(name)
        owner = seen.live[row.owner].workflow_id if row is not None and row.owner is not None else ""
        expected = (row.state, owner) if row is not None else ("absent", "")
        if seen.rows.get(name, ("absent", "")) != expected:
            wrong.append(f"fact {name} should be {expected} and is {seen.rows.get(name)}")
    for n, (one, live) in enumerate(zip(model.engagements, seen.live, strict=True)):
        wrong += [f"engagement {n}: {complaint}" for complaint in live.complaints]
        end = live.state.settlement
        got = (end.outcome.value if end else "", _answer(seen, n), live.message, len(live.heard))
        expected_end = (one.outcome.replace("-", "_").upper(), one.answer, one.message, len(one.heard))
        if (got[0].replace("-", "_").upper(), *got[1:]) != expected_end:
            wrong.append(f"engagement {n} should have (outcome, answer, message, heard) {expected_end} and has {got}")
    return wrong


def _answer(seen: Seen, owner: int) -> str:
    end = seen.live[owner].state.settlement
    if end is None:
        return ""
    return (end.text or str(end.answers.get("city", ""))).removeprefix(f"{seen.prefix}-")


async def _smallest(stage: Stage, scene: Scene, pace: int) -> tuple[Scene, list[str]]:
    """Drop whatever can go while something stays wrong; alone on the stage, where it may even go right."""
    wrong = ["it goes wrong only beside other scenes"]
    smaller: list[Scene] = [scene]
    while smaller:
        tried, smaller = smaller, []
        for one in tried:
            (seen,) = await stage.play([one], pace)
            if found := judged(one, seen, pace):
                scene, wrong, smaller = one, found, _smaller(one)
                break
    return scene, wrong


def _smaller(scene: Scene) -> list[Scene]:
    """The scene without one of its actions each time."""
    found = []
    for n, tick in enumerate(scene.ticks):
        for part in ("early", "late"):
            actions = getattr(tick, part)
            for i, action in enumerate(actions):
                if not isinstance(action, Claim):
                    fewer = replace(tick, **{part: (*actions[:i], *actions[i + 1 :])})
                    found.append(replace(scene, ticks=(*scene.ticks[:n], fewer, *scene.ticks[n + 1 :])))
    if scene.ticks and scene.ticks[-1] == Tick():
        found.append(replace(scene, ticks=scene.ticks[:-1]))
    last = len(scene.engaged) - 1
    if last and all(owner_of(a) != last or isinstance(a, Claim) for t in scene.ticks for a in (*t.early, *t.late)):
        ticks = tuple(
            Tick(*(tuple(a for a in some if owner_of(a) != last) for some in (t.early, t.late))) for t in scene.ticks
        )
        found.append(replace(scene, engaged=scene.engaged[:last], ticks=ticks))
    return found


def told(scene: Scene) -> str:
    """A scene for people."""
    lines = [f"  {n}: {one}" for n, one in enumerate(scene.engaged)]
    lines += [f"  tick {n}: {tick}" for n, tick in enumerate(scene.ticks)]
    return "\n".join(lines)
