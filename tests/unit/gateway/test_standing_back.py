"""Background work leaves a rush to those who wait, and goes on during the longest one."""

import asyncio
from itertools import pairwise

import pytest

from gateway import standing_back
from gateway.standing_back import LONGEST, STANDS_BACK, StandingBack
from tests.unit.gateway.world import FOREVER

SHORT, LONG = 0.02, 0.1


class Work:
    """Rounds of a loop, each of which takes a while."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.began: list[float] = []

    async def round(self) -> float:
        self.began.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self._seconds)
        return 7.0


async def test_without_a_rush_nothing_waits_and_the_loop_hears_what_the_round_said() -> None:
    work = Work(LONG)
    work_in_a_rush = StandingBack(work.round, lambda: False)
    assert [await work_in_a_rush.round() for _ in range(3)] == [7.0, 7.0, 7.0]
    assert work.began[2] - work.began[0] < 2 * (LONG + LONGEST)


async def test_in_a_rush_without_end_work_goes_on_with_its_share() -> None:
    work = Work(SHORT)
    work_in_a_rush = StandingBack(work.round, lambda: True)
    async with asyncio.timeout(FOREVER):
        for _ in range(3):
            await work_in_a_rush.round()
    gaps = [later - earlier for earlier, later in pairwise(work.began)]
    assert min(gaps) >= STANDS_BACK * SHORT


async def test_a_rush_that_is_over_holds_nobody_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing_back, "LONGEST", FOREVER)
    monkeypatch.setattr(standing_back, "STANDS_BACK", FOREVER / LONG)
    work, looks = Work(LONG), iter([True, True])  # the first round waits for nothing: none was before it
    work_in_a_rush = StandingBack(work.round, lambda: next(looks, False))
    await work_in_a_rush.round()
    await work_in_a_rush.round()
    assert work.began[1] - work.began[0] < FOREVER / 2
