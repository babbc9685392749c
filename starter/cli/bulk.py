"""A command for many engagements: shown first, then carried out with ``--yes``, gone on with by ``--bulk-id``."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from domain.calls import Command
from domain.model import Model, Reference
from starter.bulk import BulkReport, BulkResult, BulkRow, BulkService, which_of
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
    """Show whom a command is for or, with ``yes``, give it to them.

    Ends with 5 when not everybody was reached, and with 1 when it was broken off by hand; both tell what was done.
    """

    async def run() -> DryRun | tuple[BulkReport, ExitCode]:
        async with sessions(context)() as session:
            which, many = which_of(session.tenant(tenant), where), session.at_bulk()
            references = await many.find(which)
            if not yes:
                return DryRun(command=name, references=references)
            report, code = await give_to(many, name, which.tenant, references, command)
            if report.is_finished:
                _tell_of_later(len(set(await many.find(which)) - set(references)), report)
            return report, code

    done = asyncio.run(run())
    if not isinstance(done, DryRun):
        tell(*done, as_json=as_json, again=f"the same command with --bulk-id {command.command_id}")
    elif as_json:
        output.print_json(done)
    else:
        _print_dry_run(done)


async def give_to(
    many: BulkService, name: str, tenant: str, references: tuple[Reference, ...], command: Command
) -> tuple[BulkReport, ExitCode]:
    """Give a command to each of these, with progress: what it came to, and how to end when somebody was not reached."""
    reached: list[BulkRow] = []
    with _progress(name, len(references), reached) as on_row:
        try:
            return await many.carry_out(name, tenant, references, command, on_row), ExitCode.UNAVAILABLE
        except asyncio.CancelledError:  # by hand: nobody else cancels it
            return _broken_off(name, command, references, reached), ExitCode.FAILED


def tell(report: BulkReport, code: ExitCode, *, as_json: bool, again: str) -> None:
    """Print what was done, and end with ``code`` when not everybody was reached; ``again`` is how to go on then."""
    output.print_json(report) if as_json else _print(report)
    if not report.is_finished:
        _say(f"go on: {again}; nothing is done twice")
        raise typer.Exit(code)


def _broken_off(
    name: str, command: Command, references: tuple[Reference, ...], reached: Sequence[BulkRow]
) -> BulkReport:
    """What a bulk came to that was broken off: those that it did not come to were not tried."""
    known = {row.reference: row for row in reached}
    rows = (known.get(one, BulkRow(reference=one, result=BulkResult.NOT_TRIED)) for one in references)
    return BulkReport(bulk_id=command.command_id, command=name, rows=tuple(rows))


def _tell_of_later(count: int, report: BulkReport) -> None:
    """Temporal's list is a moment behind, and others start meanwhile."""
    if count:
        _say(f"{count} more are found by now: the same command with --bulk-id {report.bulk_id} reaches them too")


def _say(text: str) -> None:
    """On the side, so that what is printed as JSON stays JSON."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(Text(text, style="yellow"))


@contextmanager
def _progress(name: str, total: int, reached: list[BulkRow]) -> Iterator[Callable[[BulkRow], None]]:
    """A bar on standard error, on a terminal; whoever was reached is written down."""
    console = Console(stderr=True)
    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=total < 2 or not console.is_terminal) as bar:
        task = bar.add_task(name, total=total)

        def on_row(row: BulkRow) -> None:
            reached.append(row)
            bar.advance(task)

        yield on_row


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
