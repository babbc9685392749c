"""How rounds become figures, and figures verdicts."""

import pytest

from bench.figures import Compared, Figure, Goal, Report, Side, Spread, Verdict, percentile


def figure(ours: tuple[float, ...], other: tuple[float, ...], **more: object) -> Figure:
    return Figure("rate", "/s", Side("ours", ours), Side("other", other), **more)  # type: ignore[arg-type]  # named by each test


def test_a_ratio_is_of_rounds_and_not_of_their_middles() -> None:
    shown = figure((100.0, 10.0, 300.0), (50.0, 10.0, 100.0))
    assert shown.rounds == (2.0, 1.0, 3.0)
    assert shown.spread == Spread(1.0, 2.0, 3.0)


def test_a_difference_is_ours_less_the_other_side() -> None:
    assert figure((7.0, 9.0), (5.0, 10.0), compared=Compared.DIFFERENCE).rounds == (2.0, -1.0)


def test_a_goal_judges_the_middle() -> None:
    goal = Goal("≥ 0.6", at_least=0.6)
    assert figure((6.0, 5.0, 7.0), (10.0, 10.0, 10.0), goal=goal).verdict is Verdict.MET
    assert figure((5.9, 5.0, 70.0), (10.0, 10.0, 10.0), goal=goal).verdict is Verdict.MISSED
    at_most = Goal("≤ 0.5", at_most=0.5)
    assert figure((0.5,), (1.0,), goal=at_most).verdict is Verdict.MET
    assert figure((0.51,), (1.0,), goal=at_most).verdict is Verdict.MISSED


def test_sides_of_different_rounds_are_not_compared() -> None:
    with pytest.raises(ValueError, match="2 rounds of ours, 1 of the other"):
        figure((1.0, 2.0), (1.0,))


def test_a_side_that_showed_nothing_is_an_error_and_no_infinite_ratio() -> None:
    with pytest.raises(ValueError, match="its measurement failed"):
        _ = figure((1.0,), (0.0,)).rounds


def test_what_stands_alone_says_so() -> None:
    alone = Figure("events", "", Side("ours", (45.0,)), compared=Compared.ALONE, goal=Goal("≤ 45", at_most=45))
    assert alone.verdict is Verdict.MET
    with pytest.raises(ValueError, match="stands alone"):
        Figure("events", "", Side("ours", (45.0,)))


def test_a_report_is_missed_when_any_goal_is() -> None:
    met = figure((1.0,), (1.0,), goal=Goal("≥ 1", at_least=1))
    missed = figure((1.0,), (2.0,), goal=Goal("≥ 1", at_least=1))
    shown = figure((1.0,), (2.0,))
    assert Report("b", "t", "c", (met, shown)).verdict is Verdict.MET
    assert Report("b", "t", "c", (met, missed)).verdict is Verdict.MISSED
    assert Report("b", "t", "c", (shown,)).verdict is Verdict.SHOWN


@pytest.mark.parametrize(
    ("seen", "share", "expected"),
    [
        (range(1, 101), 0.5, 50),
        (range(1, 101), 0.99, 99),
        (range(1, 101), 1.0, 100),
        ([3.0], 0.01, 3.0),
        ([2.0, 1.0, 3.0], 0.5, 2.0),
    ],
)
def test_a_percentile_is_a_value_that_was_seen(seen: list[float], share: float, expected: float) -> None:
    assert percentile(list(seen), share) == expected


def test_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        percentile([], 0.5)
    with pytest.raises(ValueError, match="above 0"):
        percentile([1.0], 0)
