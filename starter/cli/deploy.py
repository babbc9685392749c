"""The commands ``deploy promote`` and ``deploy status``."""

import asyncio
from typing import Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from domain.errors import BadInput, Mistake
from starter.cli import output
from starter.cli.errors import EPILOG
from starter.cli.output import Json
from starter.cli.session import sessions
from starter.deployments import Promoted, Version

app = typer.Typer(
    help="Say which release of the workers gets the work.", epilog=EPILOG, no_args_is_help=True, add_completion=False
)


@app.callback()
def _group() -> None:
    """Say which release of the workers gets the work."""


@app.command(epilog=EPILOG)
def promote(
    context: typer.Context,
    build_id: Annotated[
        str, typer.Argument(help="The release, as its workers have it in RAPPORT_WORKER__BUILD_ID; default: ours.")
    ] = "",
    *,
    force: Annotated[bool, typer.Option("--force", help="Also when its workers do not poll every queue yet.")] = False,
    as_json: Json = False,
) -> None:
    """Give all work to a release: new engagements at once, open ones at their next step."""

    async def run() -> Promoted:
        async with sessions(context)() as session:
            wanted = build_id or session.build_id
            if not wanted:
                text = "name the release, or set RAPPORT_WORKER__BUILD_ID as its workers have it"
                raise BadInput([Mistake(text, field="BUILD_ID")])
            return await session.at_deployments().promote(wanted, force=force)

    promoted = asyncio.run(run())
    if as_json:
        output.print_json(promoted)
        return
    before = promoted.before or "workers without a version"
    text = f"gets the work now; before: {before}" if promoted.changed else "has the work already"
    output.screen().print(Text.assemble((promoted.build_id, "bold"), f" {text}"))
    if not promoted.in_effect:
        output.screen().print(Text("Temporal is still telling its queues; that takes a moment longer", style="dim"))


@app.command(epilog=EPILOG)
def status(context: typer.Context, *, as_json: Json = False) -> None:
    """List the releases that Temporal knows, and which of them gets the work."""

    async def run() -> tuple[Version, ...]:
        async with sessions(context)() as session:
            return await session.at_deployments().versions()

    versions = asyncio.run(run())
    if as_json:
        output.print_json(versions)
        return
    table = Table(Column("release", overflow="fold", min_width=8), "", box=None)
    for version in versions:
        style = "green" if version.is_current else ""
        table.add_row(Text(version.build_id, style=style), Text(version.status, style=style))
    output.screen().print(table)
