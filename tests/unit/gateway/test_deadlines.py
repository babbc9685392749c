"""One timer for many deadlines: each is as good as one of its own."""

import asyncio
from contextlib import suppress

import pytest

from gateway.deadlines import Deadlines
from tests.unit.gateway.world import FOREVER

SOON, NEVER = 0.05, 60.0
CLOCK = 0.005
"""By so much a timer may come early: the loop's clock has no finer steps everywhere."""


async def test_a_block_that_takes_too_long_is_left_and_its_task_goes_on_as_if_nothing_had_been() -> None:
    deadlines = Deadlines(SOON)
    for _ in range(2):  # the timer serves again after it has rung
        with pytest.raises(TimeoutError), deadlines.one():
            await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_block_that_ends_in_time_never_hears_of_its_deadline() -> None:
    deadlines = Deadlines(SOON)
    with deadlines.one():
        await asyncio.sleep(0)
    with pytest.raises(TimeoutError), deadlines.one():  # by when this one has passed, the first one's has long
        await asyncio.Event().wait()


async def test_what_a_block_raises_is_what_its_caller_hears() -> None:
    with pytest.raises(KeyError), Deadlines(NEVER).one():
        raise KeyError


async def test_each_is_due_in_its_own_time_though_one_timer_serves_them_all() -> None:
    deadlines, loop = Deadlines(SOON), asyncio.get_running_loop()
    took: dict[str, float] = {}

    async def wait(name: str) -> None:
        began = loop.time()
        try:
            with deadlines.one():
                await asyncio.Event().wait()
        except TimeoutError:
            took[name] = loop.time() - began

    async with asyncio.timeout(FOREVER), asyncio.TaskGroup() as waiting:
        waiting.create_task(wait("first"))
        with suppress(TimeoutError), Deadlines(SOON / 2).one():
            await asyncio.Event().wait()
        waiting.create_task(wait("second"))
    assert list(took) == ["first", "second"]
    assert min(took.values()) >= SOON - CLOCK


async def test_who_is_cancelled_by_somebody_else_is_cancelled_and_not_late() -> None:
    deadlines = Deadlines(NEVER)

    async def wait() -> None:
        with deadlines.one():
            await asyncio.Event().wait()

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_who_is_cancelled_when_it_is_late_as_well_is_cancelled() -> None:
    deadlines = Deadlines(NEVER)

    async def wait() -> None:
        with deadlines.one() as deadline:
            deadline.miss()
            await asyncio.Event().wait()

    waiting = asyncio.create_task(wait())
    asyncio.get_running_loop().call_soon(waiting.cancel)
    with pytest.raises((asyncio.CancelledError, TimeoutError)) as told:
        await waiting
    assert told.type is asyncio.CancelledError
