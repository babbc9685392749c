"""The sandbox's time: in order, in step with the test, and never backwards."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.clock import Clock, ClockMode, Step, TimeRunsForward
from tests.unit.sandbox.playground import NOW, NUMBER, Hook, playing


def noting(notes: list[str], word: str) -> Step:
    async def step() -> None:
        notes.append(word)

    return step


@given(st.lists(st.integers(0, 5), max_size=12), st.integers(0, 6))
def test_what_is_due_runs_by_instant_and_then_by_order_of_scheduling(delays: list[int], to: int) -> None:
    async def play() -> tuple[list[str], datetime | None]:
        clock, notes = Clock(ClockMode.MANUAL, NOW), list[str]()
        for place, delay in enumerate(delays):
            clock.schedule(delay, noting(notes, f"{delay}:{place}"), lane="one")
        assert await clock.advance(NOW + timedelta(seconds=to)) == len(notes)
        return notes, clock.reading().next_due

    notes, next_due = asyncio.run(play())
    expected = sorted((delay, place) for place, delay in enumerate(delays) if delay <= to)
    assert notes == [f"{delay}:{place}" for delay, place in expected]
    later = [delay for delay in delays if delay > to]
    assert next_due == (NOW + timedelta(seconds=min(later)) if later else None)


async def test_a_step_sees_its_own_instant_and_what_it_causes_runs_in_the_same_advance() -> None:
    clock, seen = Clock(ClockMode.MANUAL, NOW), list[timedelta]()

    async def first() -> None:
        seen.append(clock.now() - NOW)
        clock.schedule(2, second, lane="one")

    async def second() -> None:
        seen.append(clock.now() - NOW)

    clock.schedule(3, first, lane="one")
    await clock.advance(NOW + timedelta(seconds=60))
    assert seen == [timedelta(seconds=3), timedelta(seconds=5)]
    assert clock.now() == NOW + timedelta(seconds=60)


async def test_what_was_cancelled_does_not_happen() -> None:
    clock, notes = Clock(ClockMode.MANUAL, NOW), list[str]()
    cancelled = clock.schedule(1, noting(notes, "cancelled"), lane="one")
    clock.schedule(2, noting(notes, "kept"), lane="one")
    clock.cancel(cancelled)
    clock.cancel(None)
    assert clock.reading().next_due == NOW + timedelta(seconds=2)
    await clock.advance(NOW + timedelta(seconds=5))
    clock.cancel(cancelled)
    assert notes == ["kept"]


async def test_a_clock_never_goes_back_nor_jumps_over_what_waits() -> None:
    clock = Clock(ClockMode.MANUAL, NOW)
    with pytest.raises(TimeRunsForward, match="cannot go back"):
        await clock.advance(NOW - timedelta(seconds=1))
    clock.schedule(1, noting([], "x"), lane="one")
    with pytest.raises(TimeRunsForward, match="1 things wait"):
        await clock.set(ClockMode.MANUAL, NOW + timedelta(days=1))
    with pytest.raises(TimeRunsForward, match="wall clock"):
        await clock.set(ClockMode.REAL, NOW)
    await clock.set(ClockMode.REAL)
    with pytest.raises(TimeRunsForward, match="is real"):
        await clock.advance(datetime.now(UTC) + timedelta(days=1))


async def test_by_the_wall_clock_a_lane_keeps_its_order_and_does_not_hold_up_another() -> None:
    clock, notes, gate, done = Clock(), list[str](), asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        await gate.wait()
        notes.append("slow")

    async def last() -> None:
        notes.append("last")
        done.set()

    async def other() -> None:
        notes.append("other")
        gate.set()

    await clock.start()
    clock.schedule(0, slow, lane="one")
    clock.schedule(0, last, lane="one")
    clock.schedule(0.01, other, lane="two")
    async with asyncio.timeout(20):
        await done.wait()
    await clock.stop()
    assert notes == ["other", "slow", "last"]


async def test_a_clock_ends_also_while_something_waits_for_it() -> None:
    clock = Clock()
    await clock.start()
    clock.schedule(3600, noting([], "x"), lane="one")
    await asyncio.sleep(0)  # the runner takes up its wait, so that the wake-up and the end meet
    async with asyncio.timeout(20):
        await clock.stop()


async def test_an_advance_is_answered_when_the_webhooks_were_answered() -> None:
    async with playing() as play:
        answered: list[str] = []

        async def look(hook: Hook) -> None:
            # The clock shows the instant of the event while its webhook is under way.
            answered.append(f"{hook.name} at {str((await play.ask('clock'))['now'])[11:19]}")

        play.receiver.on_hook = look
        await play.start()
        after = await play.advance(seconds=1)
        assert answered == ["message accepted at 09:00:01", "run running at 09:00:01", "message sent at 09:00:01"]
        assert (after["now"], after["next_due"]) == ("2026-03-02T09:00:01Z", "2026-03-02T09:00:02Z")


async def test_the_control_api_sets_the_clock_and_says_why_it_cannot() -> None:
    async with playing(told=False) as play:
        moved = await play.tell("clock", mode="manual", now="2026-05-01T00:00:00Z")
        assert moved == {"now": "2026-05-01T00:00:00Z", "next_due": None, "mode": "manual"}
        back = await play.control.post("clock/advance", json={"to": "2026-04-01T00:00:00Z"})
        assert (back.status_code, "cannot go back" in back.text) == (409, True)
        await play.start()
        jump = await play.control.post("clock", json={"mode": "manual", "now": "2026-06-01T00:00:00Z"})
        assert (jump.status_code, "wait for the clock" in jump.text) == (409, True)
        assert (await play.control.post("clock", json={"mode": "manual", "now": "2026-06-01T00:00"})).status_code == 422


async def test_a_reset_forgets_everything_but_the_time() -> None:
    async with playing() as play:
        await play.persona(NUMBER, "silent")
        await play.start()
        await play.advance(seconds=1)
        await play.fault("throttle", "run-list")
        assert (await play.control.post("reset")).status_code == 204
        counts = [
            await play.count(what) for what in ("phones", "calls", "refusals", "faults", "webhooks", "recrubo/runs")
        ]
        assert counts == [0] * 6
        clock = await play.ask("clock")
        assert (clock["now"], clock["next_due"]) == ("2026-03-02T09:00:01Z", None)
        assert (await play.control.get("personas")).json() == []
        await play.start()  # the thread of before is gone, so this is no duplicate
