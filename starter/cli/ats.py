"""The commands ``ats list``, ``ats replay`` and ``ats received``: what goes between us and a tenant's own system."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import typer
from rich.table import Column, Table
from rich.text import Text

from domain.ats import AtsDelivery, AtsDeliveryState, AtsLetter, NoticeState
from domain.errors import BadInput, Mistake
from starter.cli import output
from starter.cli.errors import EPILOG, ExitCode
from starter.cli.output import Json, TenantOption
from starter.cli.session import Session, sessions
from starter.letters import Replayed, gives_up

T = TypeVar("T")

app = typer.Typer(
    help="What goes between us and a tenant's own system.", epilog=EPILOG, no_args_is_help=True, add_completion=False
)

Limit = Annotated[int, typer.Option(min=1, max=1000, help="Most rows.")]


@app.callback()
def _group() -> None:
    """What goes between us and a tenant's own system."""


@app.command("list", epilog=EPILOG)
def list_letters(
    context: typer.Context,
    *,
    undelivered: Annotated[bool, typer.Option("--undelivered", help="Only what never got there.")] = False,
    limit: Limit = 100,
    tenant: TenantOption = None,
    as_json: Json = False,
) -> None:
    """List notices that the tenant's system did not take at once."""
    found = _with(context, lambda s: s.at_ats().letters(s.tenant(tenant), undelivered=undelivered, limit=limit))
    output.print_json(found) if as_json else _print_letters(found)


@app.command(epilog=EPILOG)
def replay(
    context: typer.Context,
    events: Annotated[list[str] | None, typer.Argument(help="Notices by id.", metavar="[EVENT]…")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Everything that nobody tries any more by itself.")] = False,
    tenant: TenantOption = None,
    as_json: Json = False,
) -> None:
    """Send undelivered notices once more, signed anew, under their own ids. Ends with 1 when one was not taken."""
    if bool(events) == every:
        raise BadInput([Mistake("name notices by id, or all of them with --all", field="EVENT")])

    async def run(session: Session) -> tuple[Replayed, ...]:
        ats, of, now = session.at_ats(), session.tenant(tenant), datetime.now(UTC)
        chosen = events or [
            one.event_id for one in await ats.letters(of, undelivered=True, limit=1000) if gives_up(one, now)
        ]
        return await ats.replay(of, chosen)

    replayed = _with(context, run)
    if as_json:
        output.print_json(replayed)
    else:
        for one in replayed:
            text, style = ("delivered", "green") if one.delivered else (f"not taken: {one.reason}", "red")
            output.screen().print(Text(f"{one.event_id}: {text}", style=style))
        if not replayed:
            output.screen().print("nothing to send")
    if not all(one.delivered for one in replayed):
        raise typer.Exit(ExitCode.FAILED)


@app.command(epilog=EPILOG)
def received(
    context: typer.Context,
    *,
    state: Annotated[list[AtsDeliveryState] | None, typer.Option("--state", help="Only these; repeatable.")] = None,
    limit: Limit = 50,
    tenant: TenantOption = None,
    as_json: Json = False,
) -> None:
    """List what the tenant's system told, newest first, and what became of it."""
    found = _with(context, lambda s: s.at_ats().received(s.tenant(tenant), state or (), limit))
    output.print_json(found) if as_json else _print_received(found)


def _with(context: typer.Context, act: Callable[[Session], Awaitable[T]]) -> T:
    async def run() -> T:
        async with sessions(context)() as session:
            return await act(session)

    return asyncio.run(run())


def _print_letters(letters: Sequence[AtsLetter]) -> None:
    console, now = output.screen(), datetime.now(UTC)
    if not letters:
        console.print("every notice was taken at once")
        return
    table = Table(
        Column("notice", overflow="fold", min_width=8), "state", "tries", "made", "last", "next", "why", box=None
    )
    for one in letters:
        style = "green" if one.state is NoticeState.DELIVERED else "red" if gives_up(one, now) else "yellow"
        then = "" if one.state is NoticeState.DELIVERED else "by hand" if gives_up(one, now) else "by itself"
        made, last = output.instant(one.made_at), output.instant(one.tried_at)
        state = Text(one.state.value, style=style)
        table.add_row(Text(one.event_id), state, str(one.attempts), made, last, then, Text(one.reason))
    console.print(table)
    console.print(Text("send once more: rapport ats replay EVENT, or --all", style="dim"))


def _print_received(deliveries: Sequence[AtsDelivery]) -> None:
    console = output.screen()
    if not deliveries:
        console.print("nothing was told")
        return
    table = Table("number", "received", "status", "of", "state", "heard", "why", box=None)
    good = (AtsDeliveryState.DONE, AtsDeliveryState.WAITING)
    for one in deliveries:
        state = Text(one.state.value, style="" if one.state in good else "yellow")
        of = one.reference or (f"job {one.job}" if one.job else "")
        when = output.instant(one.received_at)
        table.add_row(str(one.number), when, one.status, Text(of), state, str(one.reached), Text(one.reason))
    console.print(table)
