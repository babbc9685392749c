"""Reports are told to people and to programs."""

import io
import json

from rich.console import Console

from bench.figures import Compared, Figure, Goal, Report, Side, Table
from bench.machine import this_machine
from bench.processes import sums_by
from bench.show import as_json, show

RATE = Figure(
    "webhooks",
    "/s",
    Side("ours", (1500.0, 1700.0)),
    Side("ceiling", (3000.0, 3400.0)),
    goal=Goal("≥ 0.6", at_least=0.6),
)
ALONE = Figure("events", "", Side("ours", (45.0,)), compared=Compared.ALONE, goal=Goal("≤ 45", at_most=45))
REPORT = Report("b", "what", "python -m bench b", (RATE, ALONE), ("on [one] core",), (Table("t", ("a",), (("1",),)),))


def test_a_table_shows_both_sides_the_goal_and_the_command() -> None:
    told = io.StringIO()
    show(REPORT, Console(file=told, width=140))
    for part in ("1,600 /s", "3,200 /s", "0.50 ×", "≥ 0.6", "missed", "met", "python -m bench b", "on [one] core"):
        assert part in told.getvalue()


def test_json_keeps_every_round_and_the_machine() -> None:
    told = json.loads(as_json([REPORT], this_machine(), quick=True))
    (report,) = told["reports"]
    rate = report["figures"][0]
    assert rate["sides"]["ours"]["rounds"] == [1500.0, 1700.0]
    assert (rate["minimum"], rate["median"], rate["maximum"], rate["verdict"]) == (0.5, 0.5, 0.5, "missed")
    assert told["machine"]["cores"] >= 1
    assert "temporalio" in told["machine"]["versions"]


def test_metrics_are_summed_by_a_label() -> None:
    text = (
        'temporal_request_total{operation="SignalWorkflowExecution",namespace="a"} 3\n'
        'temporal_request_total{namespace="b",operation="SignalWorkflowExecution"} 4\n'
        'temporal_request_total{operation="Check"} 1\n'
        'temporal_request_failure_total{operation="Check"} 9\n'
    )
    assert sums_by(text, "temporal_request_total", "operation") == {"SignalWorkflowExecution": 7.0, "Check": 1.0}
