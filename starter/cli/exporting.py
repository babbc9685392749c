"""The command ``export``: one engagement as one JSON document, for an auditor or for the candidate."""

import asyncio
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from domain.errors import BadInput, Mistake
from domain.export import EngagementExport
from starter.cli import output
from starter.cli.output import TenantOption
from starter.cli.session import sessions
from starter.export_schema import export_schema


def export(
    context: typer.Context,
    reference: Annotated[str | None, typer.Argument(help="Your own key of the engagement.", show_default=False)] = None,
    *,
    tenant: TenantOption = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of exports instead.")] = False,
) -> None:
    """Print all that is kept of an engagement as JSON: personal data, with what the candidate wrote and answered.

    An engagement that has ended needs no worker. What could not be read is named in the document and on standard error.
    """
    if schema:
        typer.echo(export_schema(), nl=False)
        return
    if reference is None:
        raise BadInput([Mistake("name an engagement, or give --schema", field="REFERENCE")])

    async def run(reference: str) -> EngagementExport:
        async with sessions(context)() as session:
            return await session.at_exporting().export(session.tenant(tenant), reference)

    document = asyncio.run(run(reference))
    output.print_json(document)
    aside = Console(stderr=True, highlight=False, soft_wrap=True)
    for why in document.missing:
        aside.print(Text(f"missing: {why}", style="yellow"))
