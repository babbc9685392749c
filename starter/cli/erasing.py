"""The command ``erase``. A number is never an argument: it would stay in the shell's history."""

import asyncio
import re
import sys
import uuid
from datetime import timedelta
from typing import Annotated

import typer
from rich.text import Text

from domain.calls import Command
from domain.errors import BadInput, Mistake, NotAllowed
from starter.cli import output
from starter.cli.errors import ExitCode
from starter.cli.operating import Actor, command_of
from starter.cli.output import Json, TenantOption
from starter.cli.session import Session, sessions
from starter.erasure import WAIT, Erasure

_NUMBER = re.compile(r"\s*(\+|00)[\d\s().-]{6,}")

Candidate = Annotated[
    str | None, typer.Argument(help="A reference of the tenant, or a contact id (ct_…).", show_default=False)
]


def erase(
    context: typer.Context,
    candidate: Candidate = None,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept beside the erasure. No personal data.")],
    phone: Annotated[bool, typer.Option("--phone", help="Ask for a number: hidden, or from standard input.")] = False,
    all_tenants: Annotated[bool, typer.Option("--all-tenants", help="Also where other tenants engage them.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    wait: Annotated[int, typer.Option(min=0, help="Seconds that open engagements may take to end.")] = int(
        WAIT.total_seconds()
    ),
    actor: Actor = None,
    tenant: TenantOption = None,
    as_json: Json = False,
) -> None:
    """Erase a person: end what is open, destroy their keys, lose what the store has of them. It cannot be undone.

    Repeating it is harmless, and needed while it ends with 5: then an engagement has not ended yet.
    """
    number = _asked_for(candidate, phone=phone)
    command = command_of(Command, actor, reason, f"erase-{uuid.uuid4()}")

    async def run() -> Erasure:
        async with sessions(context)() as session:
            contact_id = await _found(session, candidate, number, tenant)
            others = await session.at_erasing().of_others(contact_id, session.tenant(tenant) if candidate else "")
            if candidate is not None and others and not all_tenants:
                raise NotAllowed("other tenants have engagements of this person too: --all-tenants erases them as well")
            if not yes:
                typer.confirm(f"Erase {contact_id} for good?", abort=True, err=True)
            return await session.at_erasing().erase(contact_id, command, wait=timedelta(seconds=wait))

    result = asyncio.run(run())
    output.print_json(result) if as_json else _print(result)
    raise typer.Exit(ExitCode.OK if result.is_done else ExitCode.UNAVAILABLE)


def _asked_for(candidate: str | None, *, phone: bool) -> str:
    """The number, where one is to be given. Raises ``BadInput``."""
    if (candidate is None) is not phone:
        raise BadInput([Mistake("name a reference or a contact id, or else --phone", field="CANDIDATE")])
    if candidate is not None and _NUMBER.match(candidate):
        raise BadInput([Mistake("a number would stay in the shell's history: leave it out, use --phone", "CANDIDATE")])
    if not phone:
        return ""
    if sys.stdin.isatty():
        return str(typer.prompt("Phone number with its country code", hide_input=True, err=True))
    return sys.stdin.readline().strip()


async def _found(session: Session, candidate: str | None, number: str, tenant: str | None) -> str:
    if candidate is None:
        return await session.at_erasing().find_by_phone(number)
    return await session.at_erasing().find(candidate, session.tenant(tenant))


def _print(result: Erasure) -> None:
    console = output.screen()
    if result.is_done:
        console.print(Text(f"{result.contact_id}: erased", style="green"))
    elif result.erased_at is None:
        console.print(Text(f"{result.contact_id}: not erased yet; nothing begins and nothing is sent", style="yellow"))
    else:
        left = "something may still run" if result.traces_cleared else "old bytes are not overwritten yet"
        console.print(Text(f"{result.contact_id}: erased, but {left}", style="yellow"))
    for one in result.still_open:
        console.print(Text(f"still open: {one.workflow_id}: {one.reason}", style="yellow"))
    for kind, many in result.counts.items():
        if many:
            console.print(Text(f"{many:>6}  {kind}", style="dim"))
    if not result.is_done:
        console.print(Text("give the same command again", style="dim"))
