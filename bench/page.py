"""Puts what was measured on the page: ``python -m bench.page RESULTS.json…`` fills docs/performance.md.

The page says in words what figures mean; the figures between its marks are written by this program alone, from
docs/performance.json, which keeps the newest run of each bench with its machine, its commit and every round.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter

from bench.figures import Table
from bench.machine import Machine
from bench.show import number
from domain.model import Model

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE, KEPT = DOCS / "performance.md", DOCS / "performance.json"
GOALS = "goals"
"""The place of every figure that has a goal."""
_VERDICTS = {"met": "met", "missed": "**missed**"}
_MARK = re.compile(r"<!-- figures: (?P<bench>[a-z-]+) -->\n(?P<its>.*?)<!-- end -->\n", re.DOTALL)


class KeptSpread(Model):
    """Least, middle, most."""

    minimum: float
    median: float
    maximum: float


class KeptSide(KeptSpread):
    """One side, with each of its rounds."""

    rounds: tuple[float, ...]


class KeptFigure(KeptSpread):
    """One figure; its own spread is that of the comparison."""

    name: str
    unit: str
    sides: dict[str, KeptSide]
    compared: str
    rounds: tuple[float, ...]
    goal: str | None
    verdict: str


class KeptReport(Model):
    """What one bench found."""

    bench: str
    title: str
    command: str
    seconds: float
    verdict: str
    conditions: tuple[str, ...]
    figures: tuple[KeptFigure, ...]
    tables: tuple[Table, ...]


class KeptRun(Model):
    """What ``python -m bench`` wrote."""

    measured_at: str
    quick: bool
    machine: Machine
    reports: tuple[KeptReport, ...]


class Measured(Model):
    """The newest run of one bench."""

    measured_at: str
    quick: bool
    machine: Machine
    report: KeptReport


_KEPT = TypeAdapter(dict[str, Measured])


def kept() -> dict[str, Measured]:
    """What the page shows, by bench."""
    return _KEPT.validate_json(KEPT.read_bytes()) if KEPT.exists() else {}


def with_runs(known: Mapping[str, Measured], runs: Sequence[KeptRun]) -> dict[str, Measured]:
    """The same with the benches of these runs in place of their earlier ones; a later instant wins."""
    found = dict(known)
    for run in sorted(runs, key=lambda one: one.measured_at):
        for report in run.reports:
            found[report.bench] = Measured(
                measured_at=run.measured_at, quick=run.quick, machine=run.machine, report=report
            )
    return dict(sorted(found.items()))


def filled(page: str, measured: Mapping[str, Measured]) -> str:
    """The page with its figures. Raises ``KeyError`` where it has a place for a bench that nobody measured."""

    def its(mark: re.Match[str]) -> str:
        name = mark["bench"]
        return _goals(measured) if name == GOALS else _place(name, measured[name])

    return _MARK.sub(its, page)


def _goals(measured: Mapping[str, Measured]) -> str:
    """Every figure that has a goal, in the order of the page's benches."""
    rows = [
        (f"`{name}`", _called(figure), _spread(figure, _unit(figure)), figure.goal, _VERDICTS.get(figure.verdict, ""))
        for name, one in measured.items()
        for figure in one.report.figures
        if figure.goal
    ]
    grid = _grid(("bench", "figure", "found: median (least to most)", "goal", ""), rows)
    return "\n".join([f"<!-- figures: {GOALS} -->", *grid, "<!-- end -->\n"])


def _called(figure: KeptFigure) -> str:
    (ours, *others) = figure.sides
    beside = {"ratio": " ÷ ", "difference": " less "}.get(figure.compared, "")
    return f"{figure.name}: {ours}{beside}{others[0]}" if others else f"{figure.name}: {ours}"


def _unit(figure: KeptFigure) -> str:
    return "×" if figure.compared == "ratio" else figure.unit


def _place(name: str, measured: Measured) -> str:
    report, machine = measured.report, measured.machine
    lines = [f"<!-- figures: {name} -->", *_figures(report.figures)]
    for table in report.tables:
        lines += ["", f"*{table.name}*", "", *_grid(table.columns, table.rows)]
    lines += ["", *(f"- {condition}" for condition in report.conditions)]
    lines.append(f"- {measured.measured_at[:10]}, commit {machine.commit}, load before it {machine.load}")
    lines.append(f"- {report.seconds:.0f} s; again by `{report.command}`")
    lines.append("<!-- end -->\n")
    return "\n".join(lines)


def _figures(figures: Sequence[KeptFigure]) -> list[str]:
    rows = []
    for figure in figures:
        (ours_name, ours), *others = figure.sides.items()
        rows.append(
            (
                f"{figure.name}, {ours_name}",
                _spread(ours, figure.unit),
                f"{_spread(others[0][1], figure.unit)} ({others[0][0]})" if others else "",
                _spread(figure, _unit(figure)) if others else "",
                figure.goal or "",
                _VERDICTS.get(figure.verdict, ""),
            )
        )
    compared = " or ".join(sorted({figure.compared for figure in figures} - {"alone"}))
    return _grid(("figure", "ours", "beside", compared or "ratio", "goal", ""), rows)


def _spread(spread: KeptSpread, unit: str) -> str:
    middle = number(spread.median, unit)
    if spread.minimum == spread.maximum:
        return middle
    return f"{middle} ({number(spread.minimum, '')} to {number(spread.maximum, '')})"


def _grid(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    ruled = [columns, ["---"] * len(columns), *rows]
    return ["| " + " | ".join(row) + " |" for row in ruled]


def main(files: Sequence[str]) -> None:
    """Keep these runs and fill the page."""
    runs = [KeptRun.model_validate_json(Path(file).read_bytes()) for file in files]
    measured = with_runs(kept(), runs)
    KEPT.write_bytes(_KEPT.dump_json(measured, indent=1) + b"\n")
    PAGE.write_text(filled(PAGE.read_text(), measured))
    sys.stdout.write(f"{', '.join(measured)} are on {PAGE.name}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
