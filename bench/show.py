"""Shows reports: to people as tables, to programs as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table as Grid

from bench.figures import Compared, Figure, Report, Spread, Verdict
from bench.machine import Machine

_COLOURS = {Verdict.MET: "green", Verdict.MISSED: "red", Verdict.SHOWN: "default"}


def show(report: Report, console: Console) -> None:
    """Print one report."""
    console.print(f"\n[bold]{report.bench}[/]: {report.title}  ({report.seconds:.0f} s; repeat: {report.command})")
    grid = Grid("figure", "side", "min", "median", "max", "goal", "verdict")
    for figure in report.figures:
        _rows(grid, figure)
    console.print(grid)
    for table in report.tables:
        counted = Grid(*table.columns, title=table.name)
        for row in table.rows:
            counted.add_row(*row)
        console.print(counted)
    for line in report.conditions:
        console.print(f"  - {line}", style="dim", markup=False)


def as_json(reports: Sequence[Report], machine: Machine, *, quick: bool) -> str:
    """Every report with the machine, rounds included."""
    return json.dumps(
        {
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "quick": quick,
            "machine": asdict(machine),
            "reports": [_of_report(report) for report in reports],
        },
        indent=2,
    )


def write(text: str, file: Path) -> None:
    """Keep a run's JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n")


def _rows(grid: Grid, figure: Figure) -> None:
    goal = figure.goal.text if figure.goal else ""
    verdict = f"[{_COLOURS[figure.verdict]}]{figure.verdict.value}[/]"
    if figure.other is None:
        grid.add_row(figure.name, figure.ours.name, *_numbers(figure.spread, figure.unit), goal, verdict)
        return
    grid.add_row(figure.name, figure.ours.name, *_numbers(figure.ours.spread, figure.unit), "", "")
    grid.add_row("", figure.other.name, *_numbers(figure.other.spread, figure.unit), "", "")
    unit = figure.unit if figure.compared is Compared.DIFFERENCE else "×"
    grid.add_row("", figure.compared.value, *_numbers(figure.spread, unit), goal, verdict, end_section=True)


def _numbers(spread: Spread, unit: str) -> tuple[str, str, str]:
    return (number(spread.minimum, unit), number(spread.median, unit), number(spread.maximum, unit))


def number(value: float, unit: str) -> str:
    """With as many digits as it has a meaning for."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}".rstrip()


def _of_report(report: Report) -> dict[str, object]:
    return {
        "bench": report.bench,
        "title": report.title,
        "command": report.command,
        "seconds": round(report.seconds, 1),
        "verdict": report.verdict.value,
        "conditions": list(report.conditions),
        "figures": [_of_figure(figure) for figure in report.figures],
        "tables": [asdict(table) for table in report.tables],
        "extra": dict(report.extra),
    }


def _of_figure(figure: Figure) -> dict[str, object]:
    sides = [figure.ours] if figure.other is None else [figure.ours, figure.other]
    return {
        "name": figure.name,
        "unit": figure.unit,
        "sides": {side.name: {"rounds": list(side.seen), **asdict(side.spread)} for side in sides},
        "compared": figure.compared.value,
        "rounds": list(figure.rounds),
        **asdict(figure.spread),
        "goal": figure.goal.text if figure.goal else None,
        "verdict": figure.verdict.value,
        "note": figure.note,
    }
