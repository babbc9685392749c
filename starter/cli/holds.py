"""The commands ``holds list|open|reject|recheck``."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from domain import names
from domain.calls import Command
from starter.cli import output
from starter.cli.errors import EPILOG
from starter.cli.gating import gate_text, print_result
from starter.cli.operating import Actor, CommandId, Reason, command_of
from starter.cli.output import Json
from starter.cli.session import sessions
from starter.gates import Held, OpenGate, gate_id

app = typer.Typer(
    help="See what is held and who waits; open a gate.", epilog=EPILOG, no_args_is_help=True, add_completion=False
)

GateName = Annotated[str, typer.Argument(help="A gate, or what it holds: line:recruiting, account:acme-meta …")]


@app.callback()
def _group() -> None:
    """See what is held and who waits; open a gate."""


@app.command("list", epilog=EPILOG)
def list_holds(context: typer.Context, *, as_json: Json = False) -> None:
    """List every hold in force and every open gate, with who waits there and why."""

    async def run() -> None:
        async with sessions(context)() as session:
            held = await session.at_gates().held(datetime.now(UTC))
        output.print_json(held) if as_json else _print_held(held)

    asyncio.run(run())


@app.command("open", epilog=EPILOG)
def open_gate(
    context: typer.Context,
    gate: GateName,
    *,
    reason: Reason,
    actor: Actor = None,
    command_id: CommandId = None,
    as_json: Json = False,
) -> None:
    """Lift a hold and let everybody go on who waits there."""
    command = command_of(Command, actor, reason, command_id)

    async def run() -> None:
        async with sessions(context)() as session:
            result = await session.at_gates().open(gate_id(gate), command, datetime.now(UTC))
        print_result(result, as_json=as_json)

    asyncio.run(run())


@app.command(epilog=EPILOG)
def reject(
    context: typer.Context,
    gate: GateName,
    *,
    reason: Reason,
    actor: Actor = None,
    command_id: CommandId = None,
    as_json: Json = False,
) -> None:
    """End everybody who waits at a gate."""
    _give(context, names.REJECT, gate, (actor, reason, command_id), as_json=as_json)


@app.command(epilog=EPILOG)
def recheck(
    context: typer.Context,
    gate: GateName,
    *,
    reason: Reason,
    actor: Actor = None,
    command_id: CommandId = None,
    as_json: Json = False,
) -> None:
    """Have a gate look now: at the provider, or by letting the first who waits try."""
    _give(context, names.RECHECK, gate, (actor, reason, command_id), as_json=as_json)


def _give(
    context: typer.Context, update: str, gate: str, said: tuple[str | None, str, str | None], *, as_json: bool
) -> None:
    command = command_of(Command, *said)

    async def run() -> None:
        async with sessions(context)() as session:
            result = await session.at_gates().command(gate_id(gate), update, command)
        print_result(result, as_json=as_json)

    asyncio.run(run())


def _print_held(held: Held) -> None:
    console = output.screen()
    if not held.holds and not held.gates:
        console.print("nothing is held")
    if held.holds:
        table = Table(Column("hold", overflow="fold", min_width=8), "code", "since", "until", "why", "by", box=None)
        for row in held.holds:
            until = output.instant(row.until) or "a person opens it"
            why = Text(row.reason)
            table.add_row(Text(row.scope_key), row.code, output.instant(row.at), until, why, row.actor)
        console.print(table)
    if held.gates:
        table = Table(
            Column("gate", overflow="fold", min_width=8), "state", "waiting", "since", "next look", "why", box=None
        )
        for gate in held.gates:
            table.add_row(*_cells(gate))
        console.print(table)
        console.print(Text("open one: rapport holds open GATE --reason …", style="dim"))
    for note in (f"there are more than {len(held.gates)} open gates" if held.more else "", held.note):
        if note:
            console.print(Text(note, style="yellow"))


def _cells(gate: OpenGate) -> tuple[Text | str, ...]:
    snapshot = gate.snapshot
    if snapshot is None:
        return Text(gate.gate), "?", "", "", "", Text(gate.note, style="yellow")
    return (
        Text(gate.gate),
        gate_text(snapshot),
        str(snapshot.waiting),
        output.instant(snapshot.since),
        output.instant(snapshot.until),
        Text(snapshot.reason),
    )
