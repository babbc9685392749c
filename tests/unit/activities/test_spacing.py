"""The requests of a line keep their distance, whatever holds them up before or after their turn."""

import asyncio
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activities.spacing import Departure, Spacing
from domain.departures import written as say_written
from domain.pacing import MARGIN, window_of
from tests.unit.activities.leaping_loop import busy_for, in_leaps, now
from tests.unit.activities.windows import busiest


def line_of(granted: float) -> Spacing:
    """A line that the provider grants so many a second."""
    return Spacing(granted * MARGIN)


async def turn_of(spacing: Spacing) -> Departure:
    """The next turn, for as long as it takes."""
    departure = await spacing.turn()
    assert departure is not None
    return departure


async def gone(spacing: Spacing) -> float:
    """Take a turn, and leave at once; when that was."""
    (await turn_of(spacing)).over()
    return now()


def test_many_at_once_leave_one_after_the_other() -> None:
    async def main() -> list[float]:
        spacing = line_of(4 / MARGIN)
        return await asyncio.gather(*(gone(spacing) for _ in range(5)))

    assert in_leaps(main()) == pytest.approx([0, 0.25, 0.5, 0.75, 1.0], abs=0.002)


def test_time_in_which_nobody_left_is_not_made_up_for() -> None:
    async def main() -> list[float]:
        spacing = line_of(4 / MARGIN)
        await gone(spacing)
        await asyncio.sleep(60)
        return [await gone(spacing) for _ in range(2)]

    assert in_leaps(main()) == pytest.approx([60, 60.25], abs=0.002), "nobody waits who comes late enough"


def test_turns_that_are_given_late_are_made_up_for_as_far_as_the_margin_goes() -> None:
    async def main() -> list[float]:
        spacing, left = line_of(20), list[float]()

        async def leave(n: int) -> None:
            await gone(spacing)
            left.append(now())
            busy_for({10: 0.1, 30: 5.0}.get(n, 0))

        await asyncio.gather(*(leave(n) for n in range(60)))
        return left

    left = in_leaps(main())
    assert left[29] == pytest.approx(29 / 18, abs=0.01), "a tenth of a second without time cost nobody his turn"
    assert busiest(left[30:], 0.2) <= 6
    assert left[59] == pytest.approx(59 / 18 + 4.9, abs=0.1), "five seconds are lost"


def test_who_gives_up_waiting_leaves_the_turn_to_the_next() -> None:
    async def main() -> float:
        spacing = line_of(4 / MARGIN)
        await gone(spacing)
        first, second = asyncio.create_task(gone(spacing)), asyncio.create_task(gone(spacing))
        await asyncio.sleep(0.1)
        first.cancel()
        return await second

    assert in_leaps(main()) == pytest.approx(0.25, abs=0.002)


def test_requests_that_were_held_up_after_their_turn_leave_no_room_for_others() -> None:
    async def main() -> list[float]:
        spacing, left = line_of(20), list[float]()

        async def leave(n: int) -> None:
            departure = await turn_of(spacing)
            await asyncio.sleep(
                0.44 - now() if n < 8 else 0
            )  # until the machine has time again, and they leave at once
            departure.written()
            left.append(now())

        await asyncio.gather(*(leave(n) for n in range(100)))
        return left

    left = in_leaps(main())
    assert sorted(left)[:8] == pytest.approx([0.44] * 8)
    assert busiest(left, 1.0) == 20


def test_one_request_that_does_not_get_away_costs_its_place_and_no_more() -> None:
    async def main() -> float:
        spacing = line_of(20)
        stuck = await turn_of(spacing)
        begun = now()
        for _ in range(180):
            await gone(spacing)
        assert stuck.seen > now()
        return now() - begun

    assert in_leaps(main()) == pytest.approx(10, rel=0.02)


def test_a_line_of_which_nothing_gets_away_gives_no_turn_until_something_is_over() -> None:
    async def main() -> tuple[float, float]:
        spacing = line_of(3)
        stuck = [await turn_of(spacing) for _ in range(3)]
        waits = asyncio.create_task(gone(spacing))
        await asyncio.sleep(5)
        stuck[1].over()
        freed = now()
        return freed, await waits

    freed, left = in_leaps(main())
    assert left == pytest.approx(freed + 1, abs=0.002)


def test_who_has_no_patience_for_what_is_stuck_gets_no_turn_and_takes_none() -> None:
    async def main() -> None:
        spacing = line_of(1)
        stuck, begun = await turn_of(spacing), now()
        assert await spacing.turn(patience=7) is None
        assert now() - begun == pytest.approx(7, abs=0.002)
        stuck.over()
        assert await spacing.turn(patience=0.9) is None
        assert now() - begun == pytest.approx(7, abs=0.002), "known at once"
        assert await spacing.turn(patience=1.1) is not None

    in_leaps(main())


def test_what_failed_before_it_was_written_counts_until_then() -> None:
    async def fails(spacing: Spacing) -> None:
        with (await turn_of(spacing)).leaving():
            await asyncio.sleep(5)
            raise ConnectionError

    async def main() -> float:
        spacing = line_of(0.5)
        with pytest.raises(ConnectionError):
            await fails(spacing)
        return await gone(spacing)

    assert in_leaps(main()) == pytest.approx(7, abs=0.002)


@pytest.mark.parametrize("granted", [0.5, 1, 1.8, 5, 20, 80])
def test_a_line_without_hold_ups_sends_at_its_pace_however_slow_the_answers(granted: float) -> None:
    async def main() -> float:
        spacing = line_of(granted)

        async def leave() -> None:
            departure = await turn_of(spacing)
            departure.written()
            await asyncio.sleep(3)
            departure.over()

        many = int(20 * granted) + 1
        async with asyncio.TaskGroup() as group:
            for _ in range(many):
                group.create_task(leave())
        return (many - 1) / (now() - 3)

    assert in_leaps(main()) == pytest.approx(granted * MARGIN, rel=0.03)


@dataclass(frozen=True)
class Fate:
    """What becomes of one request, in seconds one after the other."""

    asks_after: float
    held_up: float
    travels: float
    """As a part of what the margin leaves."""
    answered_after: float


FATES = st.builds(
    Fate,
    asks_after=st.sampled_from([0.0, 0.0, 0.0, 0.3, 4.0]),
    held_up=st.one_of(st.just(0.0), st.floats(0, 3)),
    travels=st.floats(0, 1),
    answered_after=st.floats(0, 2),
)


@settings(deadline=None, max_examples=80)
@given(
    granted=st.sampled_from([0.3, 0.5, 1, 1.8, 2.5, 5, 20]),
    fates=st.lists(FATES, min_size=2, max_size=60),
    lateness=st.lists(st.sampled_from([0.0, 0.0, 0.02, 0.5]), min_size=1, max_size=5),
)
def test_no_window_of_the_provider_is_ever_exceeded(granted: float, fates: list[Fate], lateness: list[float]) -> None:
    window, written, arrived = window_of(granted * MARGIN), list[float](), list[float]()
    slack = window.seconds * (1 / MARGIN - 1)

    async def main() -> None:
        spacing = line_of(granted)

        async def leave(n: int, fate: Fate) -> None:
            with (await turn_of(spacing)).leaving():
                await asyncio.sleep(fate.held_up + lateness[n % len(lateness)])
                say_written()
                written.append(now())
                await asyncio.sleep(fate.travels * slack)
                arrived.append(now())
                await asyncio.sleep(fate.answered_after)

        async with asyncio.TaskGroup() as group:
            for n, fate in enumerate(fates):
                await asyncio.sleep(fate.asks_after / granted)
                group.create_task(leave(n, fate))

    in_leaps(main())
    assert len(arrived) == len(fates), "everybody had a turn"
    assert busiest(written, window.seconds) <= window.most
    assert busiest(arrived, window.seconds) <= window.most
