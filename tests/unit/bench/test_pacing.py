"""What counts as a line's pace."""

from dataclasses import replace

import pytest

from bench.depth import FULL, QUICK
from bench.figures import Verdict
from bench.pacing import Pace, busiest_second, report

STEADY = Pace.of([n / 17.5 for n in range(180)])


def test_the_busiest_second_may_begin_anywhere() -> None:
    assert busiest_second([0.0, 0.6, 0.9, 1.2, 1.5, 3.0]) == 4
    assert busiest_second([5.0]) == 1


def test_what_comes_a_second_later_is_in_the_next_one() -> None:
    assert busiest_second([0.0, 1.0, 2.0]) == 1
    assert busiest_second([0.0, 0.999]) == 2


def test_instants_count_in_whatever_order_they_are_told() -> None:
    assert busiest_second([2.0, 0.1, 0.0, 0.2]) == 3
    assert Pace.of([2.0, 0.0, 1.0]).mean == 1.0


def test_the_mean_is_between_the_first_and_the_last() -> None:
    assert STEADY.mean == pytest.approx(17.5)
    assert (STEADY.sends, STEADY.busiest) == (180, 18)
    assert STEADY.longest_gap == pytest.approx(1 / 17.5)


def test_one_send_has_no_pace() -> None:
    with pytest.raises(ValueError, match="at least two"):
        Pace.of([1.0])


def test_one_second_over_the_rate_misses_the_goal_and_so_does_a_slow_line() -> None:
    assert report(FULL, STEADY).verdict is Verdict.MET
    assert report(FULL, replace(STEADY, busiest=20)).verdict is Verdict.MET
    assert report(FULL, replace(STEADY, busiest=21)).verdict is Verdict.MISSED
    assert report(FULL, replace(STEADY, mean=16.9)).verdict is Verdict.MISSED


def test_a_quick_run_judges_the_busiest_second_and_no_mean() -> None:
    assert report(QUICK, replace(STEADY, mean=3)).verdict is Verdict.MET
    assert report(QUICK, replace(STEADY, busiest=21)).verdict is Verdict.MISSED
