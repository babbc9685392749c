"""The page shows what was measured, and nothing else."""

import json
from dataclasses import replace

import pytest

from bench.figures import Compared, Figure, Goal, Report, Side, Table
from bench.machine import Machine
from bench.page import PAGE, KeptRun, filled, kept, with_runs
from bench.show import as_json

MACHINE = Machine("a processor", 2, 8.0, "a system", "3.11", "abc", 0.1, {})
FIGURE = Figure(
    "webhooks", "/s", Side("ours", (100.0, 120.0)), Side("theirs", (50.0, 40.0)), goal=Goal("≥ 3", at_least=3)
)
REPORT = Report("accepting", "a title", "python -m bench accepting", (FIGURE,), ("so it was",))
PLACE = "before\n<!-- figures: accepting -->\nold\n<!-- end -->\nafter\n"


def run(report: Report, at: str = "2026-11-01T00:00:00+00:00") -> KeptRun:
    """One run, as the program keeps it."""
    written = json.loads(as_json([report], MACHINE, quick=False)) | {"measured_at": at}
    return KeptRun.model_validate_json(json.dumps(written))


def test_the_page_in_the_repository_shows_what_is_kept_beside_it() -> None:
    assert filled(PAGE.read_text(), kept()) == PAGE.read_text()


def test_a_figure_stands_with_both_sides_their_spread_and_its_goal() -> None:
    page = filled(PLACE, with_runs({}, [run(REPORT)]))
    assert page.startswith("before\n")
    assert page.endswith("<!-- end -->\nafter\n")
    assert "old" not in page
    line = next(line for line in page.splitlines() if line.startswith("| webhooks"))
    assert line == (
        "| webhooks, ours | 110 /s (100 to 120) | 45.0 /s (40.0 to 50.0) (theirs) | 2.50 × (2.00 to 3.00) | ≥ 3 "
        "| **missed** |"
    )
    assert "- so it was" in page


def test_every_goal_stands_in_one_table_with_what_was_found() -> None:
    alone = Figure("Actions", "", Side("ours", (11.0,)), compared=Compared.ALONE, goal=Goal("≤ 12", at_most=12))
    costs = replace(REPORT, bench="costs", figures=(alone, replace(alone, name="bytes", goal=None)))
    page = filled("<!-- figures: goals -->\n<!-- end -->\n", with_runs({}, [run(REPORT), run(costs)]))
    assert page.splitlines()[3:-1] == [
        "| `accepting` | webhooks: ours ÷ theirs | 2.50 × (2.00 to 3.00) | ≥ 3 | **missed** |",
        "| `costs` | Actions: ours | 11.0 | ≤ 12 | met |",
    ]


def test_counts_stand_as_a_table() -> None:
    table = Table("counts", ("journey", "Actions"), (("completed", "12"),))
    page = filled(PLACE, with_runs({}, [run(replace(REPORT, tables=(table,)))]))
    assert "*counts*\n\n| journey | Actions |\n| --- | --- |\n| completed | 12 |\n" in page


def test_filling_it_again_changes_nothing() -> None:
    measured = with_runs({}, [run(REPORT)])
    assert filled(filled(PLACE, measured), measured) == filled(PLACE, measured)


def test_the_later_of_two_runs_counts_in_whatever_order_they_are_given() -> None:
    late, early = run(replace(REPORT, title="late"), at="2026-11-02T00:00:00+00:00"), run(REPORT)
    assert with_runs({}, [late, early])["accepting"].report.title == "late"


def test_a_bench_of_which_nothing_is_known_is_a_mistake_of_the_page() -> None:
    with pytest.raises(KeyError, match="accepting"):
        filled(PLACE, {})
