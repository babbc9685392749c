"""The commands ``templates check|list|status|submit|release|reject|recheck|resubmit``."""

import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from domain import names
from domain.calls import Command
from domain.errors import EngineUnavailable, NotFound, SetupError
from domain.gates import GateSnapshot, GateVerdict
from domain.model import Model
from domain.sends import TemplateStatus
from domain.templates import SubmissionState, TemplateSpecification
from runtime.settings import load_settings
from runtime.template_files import SpecifiedTemplate
from runtime.topology import load_topology
from starter.cli import output
from starter.cli.errors import EPILOG, ExitCode
from starter.cli.gating import print_gate, print_result
from starter.cli.operating import Actor, CommandId, Reason, command_of
from starter.cli.output import Json
from starter.cli.session import Session, sessions
from starter.gates import OpenGate
from starter.templates import TemplateRow
from starter.templates_file import check_templates

app = typer.Typer(
    help="Check, submit and look after templates.", epilog=EPILOG, no_args_is_help=True, add_completion=False
)

Name = Annotated[str, typer.Argument(help="The template's name.")]
Language = Annotated[str, typer.Option("--language", help="Its language; may be left out where there is one.")]
Account = Annotated[str, typer.Option("--account", help="Its account; may be left out where there is one.")]

_LOOK_EVERY = timedelta(seconds=2)
_DOUBTFUL = (SubmissionState.UNKNOWN, SubmissionState.REFUSED)


class Checked(Model):
    """One specification without mistakes, as JSON tells it."""

    file: str
    accounts: tuple[str, ...]
    fingerprint: str
    specification: TemplateSpecification


class Standing(Model):
    """A template, and its gate while that is open."""

    template: TemplateRow
    gate: GateSnapshot | None = None
    note: str = ""


@app.callback()
def _group() -> None:
    """Check, submit and look after templates."""


@app.command(epilog=EPILOG)
def check(
    folder: Annotated[
        Path | None, typer.Argument(help="A folder of YAML files; default: what RAPPORT_TEMPLATES names.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Check specifications by our rules and their providers'; every mistake of every file at once. Nobody is asked."""
    settings = load_settings()
    chosen = folder or settings.templates
    if chosen is None:
        raise SetupError("name a folder of templates, or set RAPPORT_TEMPLATES to one")
    found = check_templates(chosen, load_topology(settings.topology_path())).templates
    if as_json:
        output.print_json([_checked(one) for one in found])
        return
    for one in found:
        spec = one.specification
        whom = ", ".join(one.accounts) or f"no account of {spec.provider} here"
        output.screen().print(Text(f"{spec.name} ({spec.language}), {spec.category.value}, for {whom}"))
    output.screen().print(Text(f"{len(found)} template{'s' * (len(found) != 1)}: nothing is wrong", style="green"))


@app.command("list", epilog=EPILOG)
def list_templates(context: typer.Context, *, as_json: Json = False) -> None:
    """List every template that is specified or known, with what its provider last said of it."""

    async def run() -> None:
        async with sessions(context)() as session:
            rows = await session.registry().rows()
        output.print_json(rows) if as_json else _print_rows(rows)

    asyncio.run(run())


@app.command(epilog=EPILOG)
def status(
    context: typer.Context, name: Name, *, language: Language = "", account: Account = "", as_json: Json = False
) -> None:
    """Show how a template stands: at its gate while one is open, else as we know it."""

    async def run() -> None:
        async with sessions(context)() as session:
            rows = await session.registry().find(name, language, account)
            told = [await _standing(session, row) for row in rows]
        if as_json:
            output.print_json(told)
            return
        for one in told:
            _print_standing(one)

    asyncio.run(run())


@app.command(epilog=EPILOG)
def submit(
    context: typer.Context,
    name: Name,
    *,
    language: Language = "",
    account: Account = "",
    template_id: Annotated[str, typer.Option("--id", help="The provider's id, where plans name one.")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Show how it goes until it is decided; exit 1 if refused.")] = (
        False
    ),
    as_json: Json = False,
) -> None:
    """Have a worker submit a template once, and watch it until its provider has decided. Repeating is harmless."""

    async def run() -> GateVerdict | None:
        async with sessions(context)() as session:
            wanted = session.registry().to_submit(name, language, account, template_id)
            gates = session.at_gates()
            gate = await gates.watch(wanted)
            if not wait:
                _show_once(await gates.look(gate), as_json=as_json)
                return None
            async for snapshot in gates.follow(gate, _LOOK_EVERY):
                _show_next(snapshot, as_json=as_json)
            result = await gates.result(gate)
        if not as_json:
            decided = result.verdict.value if result.verdict else "closed without a decision"
            output.screen().print(Text(f"{name}: {decided}", style="bold"))
        return result.verdict

    if asyncio.run(run()) is GateVerdict.REFUSED:
        raise typer.Exit(ExitCode.FAILED)


@app.command(epilog=EPILOG)
def release(
    context: typer.Context,
    name: Name,
    *,
    reason: Reason,
    language: Language = "",
    account: Account = "",
    actor: Actor = None,
    command_id: CommandId = None,
    as_json: Json = False,
) -> None:
    """Let everybody go on who waits for a template, whatever its provider says. You answer for it."""
    _give(context, names.RELEASE, (name, language, account), (actor, reason, command_id), as_json=as_json)


@app.command(epilog=EPILOG)
def reject(
    context: typer.Context,
    name: Name,
    *,
    reason: Reason,
    language: Language = "",
    account: Account = "",
    actor: Actor = None,
    command_id: CommandId = None,
    as_json: Json = False,
) -> None:
    """End everybody who waits for a template as TEMPLATE_REJECTED."""
    _give(context, names.REJECT, (name, language, account), (actor, reason, command_id), as_json=as_json)


@app.command(epilog=EPILOG)
def recheck(
    context: typer.Context,
    name: Name,
    *,
    reason: Reason,
    language: Language = "",
    account: Account = "",
    actor: Actor = None,
    command_id: CommandId = None,
    as_json: Json = False,
) -> None:
    """Ask the provider about a template now."""
    _give(context, names.RECHECK, (name, language, account), (actor, reason, command_id), as_json=as_json)


@app.command(epilog=EPILOG)
def resubmit(
    context: typer.Context,
    name: Name,
    *,
    reason: Reason,
    language: Language = "",
    account: Account = "",
    actor: Actor = None,
    command_id: CommandId = None,
    as_json: Json = False,
) -> None:
    """Submit a template once more, after you looked at its provider and it is not there."""
    _give(context, names.RESUBMIT, (name, language, account), (actor, reason, command_id), as_json=as_json)


def _give(
    context: typer.Context,
    update: str,
    template: tuple[str, str, str],
    said: tuple[str | None, str, str | None],
    *,
    as_json: bool,
) -> None:
    command = command_of(Command, *said)

    async def run() -> None:
        async with sessions(context)() as session:
            gate = await session.registry().gate_of(*template)
            result = await session.at_gates().command(gate, update, command)
        print_result(result, as_json=as_json)

    asyncio.run(run())


async def _standing(session: Session, row: TemplateRow) -> Standing:
    gates = session.at_gates()
    try:
        if not await gates.is_open(row.gate):
            return Standing(template=row)
        return Standing(template=row, gate=await gates.snapshot(row.gate))
    except NotFound:
        return Standing(template=row)
    except EngineUnavailable as error:
        return Standing(template=row, note=f"only the store is shown: {error}")


def _checked(one: SpecifiedTemplate) -> Checked:
    spec = one.specification
    return Checked(file=one.file, accounts=one.accounts, fingerprint=spec.fingerprint(), specification=spec)


def _show_once(gate: OpenGate, *, as_json: bool) -> None:
    if as_json:
        output.print_json(gate)
    elif gate.snapshot is not None:
        print_gate(gate.snapshot)
    else:
        output.screen().print(Text(f"{gate.gate} is open; a worker takes it up ({gate.note})", style="yellow"))


def _show_next(snapshot: GateSnapshot, *, as_json: bool) -> None:
    """One of several: as JSON a line each, so that a program can follow."""
    if as_json:
        sys.stdout.write(json.dumps(snapshot.model_dump(mode="json"), ensure_ascii=False) + "\n")
        sys.stdout.flush()
    else:
        print_gate(snapshot)


def _print_rows(rows: Sequence[TemplateRow]) -> None:
    console = output.screen()
    if not rows:
        console.print("no templates: RAPPORT_TEMPLATES names the folder of their specifications")
        return
    name = Column("template", overflow="fold", min_width=8)
    table = Table("account", name, "language", "status", "since", "category", "submission", "file", box=None)
    for row in rows:
        table.add_row(
            row.account,
            Text(row.name),
            row.language,
            _status_text(row),
            output.instant(row.read_at),
            _category_text(row),
            _submission_text(row),
            Text(row.file, style="dim"),
        )
    console.print(table)


def _print_standing(one: Standing) -> None:
    console, row = output.screen(), one.template
    console.print(Text.assemble((f"{row.name} ({row.language}) of {row.account}", "bold"), "  ", _status_text(row)))
    facts = [
        ("because", row.reason),
        ("since", output.instant(row.read_at)),
        ("category", _category_text(row).plain),
        ("provider id", row.provider_id),
        ("submission", _submission_text(row).plain),
        ("", row.submission_reason if row.submission in _DOUBTFUL else ""),
        ("file", row.file),
    ]
    for name, value in facts:
        if value:
            console.print(Text.assemble((f"{name:>12}  ", "dim"), value))
    if one.gate is not None:
        print_gate(one.gate, console)
    if one.note:
        console.print(Text(one.note, style="yellow"))


def _status_text(row: TemplateRow) -> Text:
    if row.status is None:
        return Text("not looked at", style="dim")
    style = "green" if row.status.sends else "red" if row.status.is_refusal else "yellow"
    word = row.raw_status if row.status is TemplateStatus.UNKNOWN and row.raw_status else row.status.value
    return Text.assemble((word, style), (" (stale)" if row.stale else "", "dim"))


def _category_text(row: TemplateRow) -> Text:
    if row.category_changed:
        return Text(f"{row.category} (asked: {row.asked_category})", style="magenta")
    return Text(row.category or row.asked_category)


def _submission_text(row: TemplateRow) -> Text:
    if row.submission is None:
        return Text("")
    style = "magenta" if row.submission in _DOUBTFUL else ""
    return Text(f"{row.submission.value} {output.instant(row.submission_at)}", style=style)
