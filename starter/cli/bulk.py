"""A command for many engagements: shown first, then carried out with ``--yes``, gone on with by ``--bulk-id``."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from domain.calls import Command
from domain.model import Model, Reference
from starter.bulk import BulkReport, BulkResult, BulkRow, which_of
from starter.cli import output
from starter.cli.errors import ExitCode
from starter.cli.session import sessions

Where = Annotated[
    str | None,
    typer.Option(
        "--where",
        help="Give it to many: 'line=recruiting plan=intake stage=held', or a query in Temporal's own words.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="With --where: do it. Without, those who are meant are only shown.")]
BulkId = Annotated[str | None, typer.Option("--bulk-id", help="With --where: go on with a bulk that broke off.")]

_SHOWN = 20
_STYLES = {
    BulkResult.DONE: "green",
    BulkResult.REFUSED: "yellow",
    BulkResult.ENDED: "dim",
    BulkResult.UNAVAILABLE: "red",
    BulkResult.NOT_TRIED: "red",
}


class DryRun(Model):
    """What a bulk command would be given to."""

    command: str
    references: tuple[Reference, ...]


def give_many(
    context: typer.Context,
    name: str,
    where: str,
    tenant: str | None,
    command: Command,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    """Show whom a command is for or, with ``yes``, give it to them. Ends with 5 when not everybody was reached."""

    async def run() -> DryRun | BulkReport:
        async with sessions(context)() as session:
            which = which_of(session.tenant(tenant), where)
            references = await session.at_bulk().find(which)
            if not yes:
                return DryRun(command=name, references=references)
            with _progress(name, len(references)) as on_row:
                return await session.at_bulk().carry_out(name, which.tenant, references, command, on_row)

    report = asyncio.run(run())
    if as_json:
        output.print_json(report)
    elif isinstance(report, DryRun):
        _print_dry_run(report)
    else:
        _print(report)
    if isinstance(report, BulkReport) and not report.is_finished:
        raise typer.Exit(ExitCode.UNAVAILABLE)


@contextmanager
def _progress(name: str, total: int) -> Iterator[Callable[[BulkRow], None]]:
    """A bar on standard error, on a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=total < 2 or not console.is_terminal) as bar:
        task = bar.add_task(name, total=total)
        yield lambda _row: bar.advance(task)


def _print_dry_run(found: DryRun) -> None:
    console = output.screen()
    for reference in found.references[:_SHOWN]:
        console.print(Text(reference))
    if len(found.references) > _SHOWN:
        console.print(Text(f"and {len(found.references) - _SHOWN} more", style="dim"))
    count = len(found.references)
    said = f"{found.command} is for {count} engagement{'s' * (count != 1)}; nothing was done"
    console.print(Text(said, style="bold"))
    if count:
        console.print(Text("do it: the same command with --yes", style="dim"))


def _print(report: BulkReport) -> None:
    console = output.screen()
    others = [row for row in report.rows if row.result is not BulkResult.DONE]
    if others:
        table = Table("reference", "result", "", box=None)
        for row in others[:_SHOWN]:
            table.add_row(Text(row.reference), Text(row.result.value, style=_STYLES[row.result]), Text(row.text))
        console.print(table)
    counts = [f"{report.count(result)} {result.value}" for result in BulkResult if report.count(result)]
    console.print(Text(", ".join(counts) or "there were none", style="bold"))
    if not report.is_finished:
        text = f"go on: the same command with --bulk-id {report.bulk_id}; nothing is done twice"
        console.print(Text(text, style="yellow"))
