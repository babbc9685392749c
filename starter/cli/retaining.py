"""The command ``retention run``: drops what is past its time. Meant for a daily cron job."""

import asyncio
from collections import Counter
from typing import Annotated

import typer
from rich.text import Text

from domain.retention import WHAT_IS_LOST, KeptKind
from starter.cli import output
from starter.cli.errors import EPILOG, ExitCode
from starter.cli.output import Json
from starter.cli.session import sessions
from starter.retention import RetentionReport, RetentionService

app = typer.Typer(help="Drop what is past its time.", epilog=EPILOG, no_args_is_help=True, add_completion=False)


@app.callback()
def _group() -> None:
    """Drop what is past its time."""


@app.command(epilog=EPILOG)
def run(
    context: typer.Context,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Drop what is past the terms of RAPPORT_RETENTION__..., of every tenant; it cannot be undone.

    May be stopped and run again at any time. Nothing that is open is touched. Ends with 5 when something has to be
    done by another run: people while Temporal is away, old bytes while somebody else reads them.
    """

    async def work() -> tuple[RetentionReport, ExitCode]:
        async with sessions(context)() as session:
            service = session.at_retention()
            if dry_run:
                return await service.look(), ExitCode.OK
            return await carry_out(service)

    report, code = asyncio.run(work())
    output.print_json(report) if as_json else _print(report)
    raise typer.Exit(code)


async def carry_out(service: RetentionService) -> tuple[RetentionReport, ExitCode]:
    """Run it; broken off by hand it still tells what went."""
    gone: Counter[KeptKind] = Counter()

    def tell(kind: KeptKind, count: int) -> None:
        gone[kind] += count

    try:
        report = await service.run(tell)
    except asyncio.CancelledError:  # by hand: nobody else cancels it
        counts = {kind: gone[kind] for kind in KeptKind}
        note = "broken off: the same command goes on"
        report = RetentionReport(dry_run=False, terms=service.terms, counts=counts, traces_cleared=False, note=note)
        return report, ExitCode.FAILED
    return report, ExitCode.OK if report.is_done else ExitCode.UNAVAILABLE


def _print(report: RetentionReport) -> None:
    console = output.screen()
    for kind, many in report.counts.items():
        console.print(Text(f"{many:>8}  {WHAT_IS_LOST[kind]}", style="" if many else "dim"))
    said = "would go; nothing was changed" if report.dry_run else "went"
    console.print(Text(f"{sum(report.counts.values()):>8}  {said}", style="bold"))
    for workflow_id in report.still_running:
        console.print(Text(f"still runs in Temporal, so its person stays: {workflow_id}", style="yellow"))
    if not report.traces_cleared and not report.note:
        console.print(Text("old bytes are not overwritten yet: give the same command again", style="yellow"))
    output.print_note(report.note)
