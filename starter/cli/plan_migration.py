"""The command ``plan migrate``: shown first, engagement by engagement, then carried out with ``--yes``."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column, Table
from rich.text import Text

from domain import names
from domain.calls import MigratePlan, NewPlan
from domain.errors import BadInput, Mistake
from domain.migration import NextStep
from domain.model import Reference
from domain.plans import Plan
from runtime.settings import load_settings
from starter.bulk import BulkReport, which_of
from starter.cli import output
from starter.cli.bulk import Where, give_to, tell
from starter.cli.errors import ExitCode
from starter.cli.operating import Actor, Reason, command_of
from starter.cli.output import Json, TenantOption
from starter.cli.session import Session, sessions
from starter.migrations import Prospect, ProspectRow, Prospects, look, migration_id
from starter.plan_against import specifications_in
from starter.plans_file import Surroundings, load_plan

_SHOWN = 40
_STYLES = {
    Prospect.MAY_MOVE: "green",
    Prospect.MAY_NOT: "yellow",
    Prospect.ENDED: "dim",
    Prospect.UNAVAILABLE: "red",
    Prospect.NOT_TRIED: "red",
}


def migrate(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The new version of the plan, a YAML file.", metavar="PLAN")],
    references: Annotated[
        list[str] | None, typer.Argument(help="Your own keys of the engagements.", metavar="[REFERENCE]…")
    ] = None,
    *,
    reason: Reason,
    where: Where = None,
    from_version: Annotated[
        int | None, typer.Option("--from", min=1, help="Only those that go by this version now.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without, what it would mean is only shown.")] = False,
    actor: Actor = None,
    tenant: TenantOption = None,
    as_json: Json = False,
) -> None:
    """Let open engagements go on by a new version of their plan, each where what has happened to it allows that.

    Repeating is harmless: who has moved stays moved, and who was not reached is tried again.
    """
    plan = _checked(file)
    written = plan.model_dump(mode="json")
    command = command_of(MigratePlan, actor, reason, migration_id(plan), plan=written, from_version=from_version)
    if bool(references) is (where is not None):
        raise BadInput([Mistake("say who is meant: REFERENCE…, or --where", field="REFERENCE")])

    async def run() -> Prospects | tuple[BulkReport, ExitCode]:
        async with sessions(context)() as session:
            its_tenant = session.tenant(tenant)
            chosen = await _chosen(session, its_tenant, plan, references or [], where)
            if yes:
                return await give_to(session.at_bulk(), names.MIGRATE_PLAN, its_tenant, chosen, command)
            console = Console(stderr=True)
            columns = (TextColumn("asking"), BarColumn(), MofNCompleteColumn())
            with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
                task = bar.add_task("asking", total=len(chosen))
                new = NewPlan(plan=plan, from_version=from_version)
                return await look(session.service, its_tenant, chosen, new, lambda: bar.advance(task))

    found = asyncio.run(run())
    if not isinstance(found, Prospects):
        tell(*found, as_json=as_json, again="the same command")
        return
    output.print_json(found) if as_json else _print(found)
    if not found.is_finished:
        raise typer.Exit(ExitCode.UNAVAILABLE)


def _checked(file: Path) -> Plan:
    """The plan, as ``plan check`` lets it pass. Raises ``BadInput``."""
    folder = load_settings().templates
    return load_plan(file, Surroundings(specifications_in(folder) if folder is not None else None))


async def _chosen(
    session: Session, tenant: str, plan: Plan, references: list[str], where: str | None
) -> tuple[Reference, ...]:
    """Who is meant. Raises ``NotFound`` for references that nobody has, and ``BadInput``."""
    if where is None:
        chosen = tuple(dict.fromkeys(references))
        await session.service.must_know(tenant, chosen)
        return chosen
    which = which_of(tenant, where)
    if which.plan not in ("", plan.name):
        raise BadInput([Mistake(f"plan={which.plan}, but the file is a version of {plan.name}", field="--where")])
    return await session.at_bulk().find(which.model_copy(update={"plan": plan.name}))


def _print(found: Prospects) -> None:
    console = output.screen()
    rows = sorted(found.rows, key=lambda row: row.prospect is Prospect.MAY_MOVE)
    if rows:
        folded = Column("next, now → then; or why not", overflow="fold")
        table = Table(Column("reference", overflow="fold", min_width=9), "now", "", folded, box=None)
        for row in rows[:_SHOWN]:
            now = f"v{row.view.version} {row.view.stage}" if row.view is not None else ""
            table.add_row(Text(row.reference), now, Text(row.prospect, style=_STYLES[row.prospect]), Text(_said(row)))
        console.print(table)
    if len(rows) > _SHOWN:
        console.print(Text(f"and {len(rows) - _SHOWN} more; --json tells all", style="dim"))
    views = [row.view for row in rows if row.view is not None and row.view.may_move]
    for version, changes in sorted({view.version: view.changes for view in views}.items()):
        console.print(Text(f"v{version} → v{found.to_version}: {'; '.join(changes) or 'only the version'}"))
    counts = [f"{found.count(prospect)} {prospect}" for prospect in Prospect if found.count(prospect)]
    console.print(Text(f"{', '.join(counts) or 'there were none'}; nothing was done", style="bold"))
    if found.count(Prospect.MAY_MOVE):
        console.print(Text("do it: the same command with --yes", style="dim"))


def _said(row: ProspectRow) -> str:
    view = row.view
    if view is None:
        return row.text
    if view.after is None:
        return "\n".join(view.reasons)
    return f"{_step(view.before)} → {_step(view.after)}"


def _step(step: NextStep) -> str:
    return f"{step.what}, {output.instant(step.at)}" if step.at is not None else step.what
