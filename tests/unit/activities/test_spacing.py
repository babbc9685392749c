"""The requests of a line keep their distance, whatever held them up before."""

import asyncio

from activities.spacing import Spacing


class Time:
    """Passes only while somebody sleeps, or is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> float:
        """What it shows."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Let the time pass, and others have their turn."""
        self.now += seconds
        await asyncio.sleep(0)


async def test_many_at_once_leave_one_after_the_other() -> None:
    time = Time()
    spacing, left = Spacing(rate=4, clock=time.clock, sleep=time.sleep), list[tuple[int, float]]()

    async def leave(n: int) -> None:
        await spacing.turn()
        left.append((n, time.now))

    await asyncio.gather(*(leave(n) for n in range(5)))
    assert left == [(0, 100.0), (1, 100.25), (2, 100.5), (3, 100.75), (4, 101.0)]


async def test_time_in_which_nobody_left_is_not_made_up_for() -> None:
    time = Time()
    spacing = Spacing(rate=4, clock=time.clock, sleep=time.sleep)
    await spacing.turn()
    time.now += 60
    await spacing.turn()
    assert time.now == 160.0, "nobody waits who comes late enough"
    await spacing.turn()
    assert time.now == 160.25


async def test_who_gives_up_waiting_leaves_the_turn_to_the_next() -> None:
    time, asleep, sleeps = Time(), asyncio.Event(), 0

    async def sleep(seconds: float) -> None:
        nonlocal sleeps
        sleeps += 1
        if sleeps == 1:
            asleep.set()
            await asyncio.Event().wait()  # until cancelled
        await time.sleep(seconds)

    spacing = Spacing(rate=4, clock=time.clock, sleep=sleep)
    await spacing.turn()
    first, second = asyncio.create_task(spacing.turn()), asyncio.create_task(spacing.turn())
    await asleep.wait()
    first.cancel()
    await asyncio.wait_for(second, 5)
    assert time.now == 100.25
    assert first.cancelled()
