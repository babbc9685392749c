"""The commands ``contacts show``, ``opt-out``, ``opt-in`` and ``import-opt-outs``.

A person is named by phone number or contact id; neither number nor name is ever printed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from domain.contacts import OptOutScope
from domain.errors import BadInput, Mistake
from starter.cli import output
from starter.cli.auditing import user
from starter.cli.errors import EPILOG, ExitCode
from starter.cli.operating import Actor, Reason
from starter.cli.output import Json
from starter.cli.session import Session, sessions
from starter.contacts import ContactView, Evidence, OptOutResult
from starter.opt_outs_file import CLOCK_SKEW, read_opt_outs

T = TypeVar("T")

app = typer.Typer(
    help="Leave to write to a person: show it, withdraw it, restore it.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
)

Who = Annotated[str, typer.Argument(help="A phone number with its country code (+31…), or a contact id (ct_…).")]
Scope = Annotated[OptOutScope, typer.Option("--scope", help="How far it reaches.")]
Value = Annotated[str, typer.Option("--value", help="The job, tenant or line that it is about; none for all.")]
OfTenant = Annotated[str | None, typer.Option("--tenant", help="Whose job, for scope job.", envvar="RAPPORT_TENANT")]
At = Annotated[datetime | None, typer.Option("--at", help="When it was said, in UTC; default: now.")]
Region = Annotated[str | None, typer.Option("--region", help="Two letters, to read numbers without a country code.")]


@app.callback()
def _group() -> None:
    """Leave to write to a person: show it, withdraw it, restore it."""


@app.command(epilog=EPILOG)
def show(context: typer.Context, who: Who, *, region: Region = None, as_json: Json = False) -> None:
    """Show consents, opt-outs with their evidence, and open engagements."""
    view = _with(context, lambda session: session.at_contacts().show(who, region))
    output.print_json(view) if as_json else _print(view)


@app.command("opt-out", epilog=EPILOG)
def opt_out(
    context: typer.Context,
    who: Who,
    *,
    scope: Scope,
    reason: Reason,
    value: Value = "",
    at: At = None,
    actor: Actor = None,
    region: Region = None,
    tenant: OfTenant = None,
    as_json: Json = False,
) -> None:
    """Withdraw leave: nothing that it covers is sent any more, and the engagements that it covers end."""
    said = evidence(actor, reason, at)

    async def act(session: Session) -> OptOutResult:
        contacts = session.at_contacts()
        return await contacts.opt_out(who, contacts.extent(scope, value, tenant), said, region)

    result = _with(context, act)
    if as_json:
        output.print_json(result)
    else:
        _print_told([result])
    raise typer.Exit(_code([result]))


@app.command("opt-in", epilog=EPILOG)
def opt_in(
    context: typer.Context,
    who: Who,
    *,
    scope: Scope,
    reason: Reason,
    value: Value = "",
    at: At = None,
    actor: Actor = None,
    region: Region = None,
    tenant: OfTenant = None,
    as_json: Json = False,
) -> None:
    """Restore leave: lifts every earlier opt-out of exactly this scope; the evidence of both is kept."""
    said = evidence(actor, reason, at)

    async def run() -> None:
        async with sessions(context)() as session:
            contacts = session.at_contacts()
            result = await contacts.opt_in(who, contacts.extent(scope, value, tenant), said, region)
        if as_json:
            output.print_json(result)
            return
        console = output.screen()
        console.print(Text(f"{result.contact_id}: opted in ({_extent(result.scope, result.value)})", style="green"))
        for one in result.still_out:
            console.print(Text(f"still opted out: {_extent(one.scope, one.value)}", style="yellow"))

    asyncio.run(run())


@app.command("import-opt-outs", epilog=EPILOG)
def import_opt_outs(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="CSV: phone[,scope][,value][,source][,at].")],
    *,
    reason: Reason,
    scope: Annotated[OptOutScope | None, typer.Option("--scope", help="For rows that name no scope.")] = None,
    value: Value = "",
    check: Annotated[bool, typer.Option("--check", help="Only look for mistakes; record nothing.")] = False,
    actor: Actor = None,
    region: Region = None,
    tenant: OfTenant = None,
    as_json: Json = False,
) -> None:
    """Withdraw leave for everybody in a file; with any mistake in it nothing is recorded."""
    said = evidence(actor, reason, None)

    async def act(session: Session) -> tuple[OptOutResult, ...]:
        contacts = session.at_contacts()
        read = read_opt_outs(file, said.at, region)
        default = None if scope is None else (scope, value)
        try:
            extents = contacts.extents(read.rows, default, tenant, str(file))
        except BadInput as error:
            read.mistakes += error.mistakes
        rows = read.checked()
        if check:
            return ()
        with _progress(len(rows)) as on_row:
            return await contacts.import_opt_outs(list(zip(rows, extents, strict=True)), said, on_row)

    results = _with(context, act)
    if as_json:
        output.print_json(results)
    elif check:
        output.screen().print(Text("nothing is wrong; nothing was recorded", style="green"))
    else:
        _print_told(results)
    raise typer.Exit(_code(results))


def evidence(actor: str | None, reason: str, at: datetime | None) -> Evidence:
    """Who says so, why and since when. Raises ``BadInput``."""
    now = datetime.now(UTC)
    said_at = now if at is None else at.replace(tzinfo=UTC) if at.tzinfo is None else at
    mistakes = [] if reason.strip() else [Mistake("say why", field="--reason")]
    if said_at > now + CLOCK_SKEW:
        mistakes.append(Mistake("lies in the future", field="--at"))
    if mistakes:
        raise BadInput(mistakes)
    return Evidence(actor=actor or user(), reason=" ".join(reason.split()), at=said_at)


def _with(context: typer.Context, act: Callable[[Session], Awaitable[T]]) -> T:
    async def run() -> T:
        async with sessions(context)() as session:
            return await act(session)

    return asyncio.run(run())


@contextmanager
def _progress(total: int) -> Iterator[Callable[[OptOutResult], None]]:
    console = Console(stderr=True)
    columns = (TextColumn("recording"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=total < 2 or not console.is_terminal) as bar:
        task = bar.add_task("record", total=total)
        yield lambda _result: bar.advance(task)


def _extent(scope: OptOutScope, value: str) -> str:
    return f"{scope.value} {value}".strip()


def _code(results: tuple[OptOutResult, ...] | list[OptOutResult]) -> ExitCode:
    return ExitCode.UNAVAILABLE if any(one.not_told for one in results) else ExitCode.OK


def _print_told(results: tuple[OptOutResult, ...] | list[OptOutResult]) -> None:
    console = output.screen()
    for one in results:
        heard = f"; ends {', '.join(one.told)}" if one.told else ""
        console.print(Text(f"{one.contact_id}: opted out ({_extent(one.scope, one.value)}){heard}", style="green"))
        if one.not_told:
            text = "not reached, though nothing of theirs is sent any more; give the command again: "
            console.print(Text(text + ", ".join(one.not_told), style="yellow"))


def _print(view: ContactView) -> None:
    console, record = output.screen(), view.record
    console.print(Text(record.contact_id, style="bold"))
    kinds = ", ".join(f"{one.kind.value}{f' at {one.scope}' if one.scope else ''}" for one in record.aliases)
    console.print(Text.assemble(("known by  ", "dim"), kinds or "nothing"))
    for written in record.lines:
        console.print(
            Text.assemble(("wrote to  ", "dim"), f"{written.line}, {output.instant(written.last_inbound_at)}")
        )
    evidence_table = Table("at", "what", "of", "source", "", box=None)
    rows = [(one.obtained_at, "consent", one.tenant, one.source, "") for one in record.consents]
    for out in record.opt_outs:
        lifted = f"lifted {output.instant(out.lifted_at)}" if out.lifted_at else "in force"
        rows.append((out.at, "opt-out", _extent(out.scope, out.scope_value), out.source, lifted))
    rows += [(one.at, "opt-in", _extent(one.scope, one.scope_value), one.source, "") for one in record.opt_ins]
    for at, what, of, source, note in sorted(rows):
        style = "red" if note == "in force" else ""
        evidence_table.add_row(
            output.instant(at), Text(what, style=style), Text(of), Text(source), Text(note, style=style)
        )
    console.print(evidence_table if rows else Text("no consent, no opt-out", style="dim"))
    for engagement in view.engagements:
        job = f", job {engagement.job}" if engagement.job else ""
        console.print(Text(f"open: {engagement.workflow_id} on {engagement.line}{job}"))
