"""Commands that act on an engagement: ``stop``, ``hand-over``, ``resend``, ``resolve-send``."""

import asyncio
import getpass
import uuid
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer
from pydantic import ValidationError
from rich.text import Text

from domain.calls import Command, CommandResult, ResolveSend
from domain.errors import BadInput
from starter.cli import output
from starter.cli.output import Json, TenantOption
from starter.cli.reading import Reference
from starter.cli.session import Session, sessions
from starter.mistakes import mistakes_of

C = TypeVar("C", bound=Command)

Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the decision log. No personal data.")]
Actor = Annotated[str | None, typer.Option("--actor", help="Who gives the command; default: the user of this shell.")]
CommandId = Annotated[
    str | None, typer.Option("--command-id", help="Repeat with the same id and nothing happens twice.")
]

Act = Callable[[Session, str], Awaitable[CommandResult]]


def stop(
    context: typer.Context,
    reference: Reference,
    *,
    reason: Reason,
    actor: Actor = None,
    command_id: CommandId = None,
    tenant: TenantOption = None,
    as_json: Json = False,
) -> None:
    """End an engagement as STOPPED: nothing more is sent."""
    command = command_of(Command, actor, reason, command_id)
    _give(context, tenant, lambda s, t: s.service.stop(t, reference, command), as_json=as_json)


def hand_over(
    context: typer.Context,
    reference: Reference,
    *,
    reason: Reason,
    actor: Actor = None,
    command_id: CommandId = None,
    tenant: TenantOption = None,
    as_json: Json = False,
) -> None:
    """End an engagement as HANDED_OVER: a person goes on."""
    command = command_of(Command, actor, reason, command_id)
    _give(context, tenant, lambda s, t: s.service.hand_over(t, reference, command), as_json=as_json)


def resend(
    context: typer.Context,
    reference: Reference,
    *,
    reason: Reason,
    actor: Actor = None,
    command_id: CommandId = None,
    tenant: TenantOption = None,
    as_json: Json = False,
) -> None:
    """Send a step of unknown outcome once more. You answer for it: the first message may have arrived."""
    command = command_of(Command, actor, reason, command_id)
    _give(context, tenant, lambda s, t: s.service.resend(t, reference, command), as_json=as_json)


def resolve_send(
    context: typer.Context,
    reference: Reference,
    send_key: Annotated[str, typer.Argument(help="The send, as `rapport sends --unknown` lists it.")],
    *,
    sent: Annotated[bool, typer.Option("--sent/--not-sent", help="What you found at the provider.")],
    reason: Reason,
    message_id: Annotated[str, typer.Option(help="The provider's id of the message or run, where you have it.")] = "",
    actor: Actor = None,
    command_id: CommandId = None,
    tenant: TenantOption = None,
    as_json: Json = False,
) -> None:
    """Settle a send of unknown outcome, after looking at the provider."""
    command = command_of(
        ResolveSend, actor, reason, command_id, send_key=send_key, was_sent=sent, message_id=message_id
    )
    _give(context, tenant, lambda s, t: s.service.resolve_send(t, reference, command), as_json=as_json)


def command_of(kind: type[C], actor: str | None, reason: str, command_id: str | None, **more: str | bool) -> C:
    """A command as given. Raises ``BadInput`` with every mistake in it."""
    given = {
        "command_id": command_id or f"cli-{uuid.uuid4()}",
        "actor": actor or getpass.getuser(),
        "reason": reason,
        **more,
    }
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise BadInput(mistakes_of(error, kind)) from None


def _give(context: typer.Context, tenant: str | None, act: Act, *, as_json: bool) -> None:
    async def run() -> None:
        async with sessions(context)() as session:
            result = await act(session, session.tenant(tenant))
        if as_json:
            output.print_json(result)
        else:
            style = "green" if result.accepted else "yellow"
            output.screen().print(Text(f"{result.command}: {result.text}", style=style))

    asyncio.run(run())
