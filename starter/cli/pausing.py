"""The commands ``pause``, ``resume`` and ``pauses``: one engagement, many, or everything of a tenant or line."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Literal

import typer
from rich.table import Column, Table
from rich.text import Text

from domain import names
from domain.calls import Command, CommandResult
from starter.cli import output
from starter.cli.bulk import BulkId, Where, Yes, give_many
from starter.cli.gating import print_result
from starter.cli.operating import Actor, CommandId, Reason, command_of, one_of, the_id
from starter.cli.output import Json, TenantOption
from starter.cli.session import Session, sessions
from store.holds import Pause, PauseScope

SomeReference = Annotated[str | None, typer.Argument(help="Your own key of the engagement.", show_default=False)]
WholeLine = Annotated[str | None, typer.Option("--line", help="Everything on this line, of every tenant.")]
Act = Literal["pause", "resume"]


def pause(
    context: typer.Context,
    reference: SomeReference = None,
    *,
    reason: Reason,
    line: WholeLine = None,
    where: Where = None,
    yes: Yes = False,
    bulk_id: BulkId = None,
    actor: Actor = None,
    command_id: CommandId = None,
    tenant: TenantOption = None,
    as_json: Json = False,
) -> None:
    """Let nothing leave: of one engagement, of many, of a line, or with --tenant alone of a whole tenant.

    What was taken by the provider stays; answers and opt-outs are heard and end engagements as ever.
    """
    command = command_of(Command, actor, reason, the_id(where, command_id, bulk_id))
    _give(context, names.PAUSE, (reference, where, line), tenant, command, yes=yes, as_json=as_json)


def resume(
    context: typer.Context,
    reference: SomeReference = None,
    *,
    reason: Reason,
    line: WholeLine = None,
    where: Where = None,
    yes: Yes = False,
    bulk_id: BulkId = None,
    actor: Actor = None,
    command_id: CommandId = None,
    tenant: TenantOption = None,
    as_json: Json = False,
) -> None:
    """Go on after a pause, at the pace of each line. Deadlines have moved by the length of an engagement's pause."""
    command = command_of(Command, actor, reason, the_id(where, command_id, bulk_id))
    _give(context, names.RESUME, (reference, where, line), tenant, command, yes=yes, as_json=as_json)


def pauses(context: typer.Context, *, as_json: Json = False) -> None:
    """List the tenants and lines that are paused; single engagements: rapport list, stage paused."""

    async def run() -> tuple[Pause, ...]:
        async with sessions(context)() as session:
            return await session.at_pauses().pauses()

    found = asyncio.run(run())
    if as_json:
        output.print_json(found)
        return
    if not found:
        output.screen().print("no tenant and no line is paused")
        return
    table = Table("paused", Column("name", overflow="fold", min_width=4), "since", "by", "why", box=None)
    for row in found:
        table.add_row(row.scope.value, row.scope_value, output.instant(row.at), Text(row.actor), Text(row.reason))
    output.screen().print(table)


def _give(
    context: typer.Context,
    name: Act | str,
    meant: tuple[str | None, str | None, str | None],
    tenant: str | None,
    command: Command,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    reference, where, line = meant
    source = context.get_parameter_source("tenant")
    whole_tenant = source is not None and source.name == "COMMANDLINE" and not any(meant)
    one_of({"REFERENCE": reference, "--where": where, "--line": line, "--tenant": tenant if whole_tenant else None})
    if where is not None:
        give_many(context, name, where, tenant, command, yes=yes, as_json=as_json)
        return

    async def run() -> CommandResult:
        async with sessions(context)() as session:
            if reference is not None:
                return await _one(session, name, session.tenant(tenant), reference, command)
            scope = PauseScope.LINE if line is not None else PauseScope.TENANT
            whole = session.at_pauses()
            act = whole.pause if name == names.PAUSE else whole.resume
            return await act(scope, line or session.tenant(tenant), command, datetime.now(UTC))

    print_result(asyncio.run(run()), as_json=as_json)


async def _one(session: Session, name: str, tenant: str, reference: str, command: Command) -> CommandResult:
    act = session.service.pause if name == names.PAUSE else session.service.resume
    return await act(tenant, reference, command)
