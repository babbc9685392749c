"""Figures that tests measure, shown at the end of a run, also where the tests ran in other processes."""

from collections.abc import Callable

import pytest

_NAME = "figures"

Show = Callable[[str], None]


@pytest.fixture
def show(record_property: Callable[[str, object], None]) -> Show:
    """Takes a line that the summary of the run shows, whatever becomes of the test."""
    return lambda line: record_property(_NAME, line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show every line that tests gave."""
    reports = [one for found in terminalreporter.stats.values() for one in found if isinstance(one, pytest.TestReport)]
    lines = [str(told) for one in reports if one.when == "call" for name, told in one.user_properties if name == _NAME]
    if lines:
        terminalreporter.section("figures")
        for line in sorted(lines):
            terminalreporter.write_line(line)
