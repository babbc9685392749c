"""Commands that act on engagements: ``stop``, ``hand-over``, ``mark-answered``, ``resend``, ``resolve-send``."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, TypeVar

import typer
from pydantic import ValidationError
from rich.text import Text

from domain import names
from domain.calls import Command, CommandResult, MarkAnswered, ResolveSend
from domain.errors import BadInput, Mistake
from domain.model import JsonValue
from starter.cli import output
from starter.cli.auditing import user
from starter.cli.bulk import BulkId, Where, Yes, give_many
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

SomeReference = Annotated[str | None, typer.Argument(help="Your own key of the engagement.", show_default=False)]

Act = Callable[[Session, str], Awaitable[CommandResult]]


def stop(
    context: typer.Context,
    reference: SomeReference = None,
    *,
    reason: Reason,
    where: Where = None,
    yes: Yes = False,
    bulk_id: BulkId = None,
    actor: Actor = None,
    command_id: CommandId = None,
    tenant: TenantOption = None,
    as_json: Json = False,
) -> None:
    """End engagements as STOPPED: nothing more is sent."""
    command = command_of(Command, actor, reason, the_id(where, command_id, bulk_id))
    one_of({"REFERENCE": reference, "--where": where})
    if where is not None:
        give_many(context, names.STOP, where, tenant, command, yes=yes, as_json=as_json)
    else:
        _give(context, tenant, lambda s, t: s.service.stop(t, reference or "", command), as_json=as_json)


def hand_over(
    context: typer.Context,
    reference: SomeReference = None,
    *,
    reason: Reason,
    where: Where = None,
    yes: Yes = False,
    bulk_id: BulkId = None,
    actor: Actor = None,
    command_id: CommandId = None,
    tenant: TenantOption = None,
    as_json: Json = False,
) -> None:
    """End engagements as HANDED_OVER: a person goes on."""
    command = command_of(Command, actor, reason, the_id(where, command_id, bulk_id))
    one_of({"REFERENCE": reference, "--where": where})
    if where is not None:
        give_many(context, names.HAND_OVER, where, tenant, command, yes=yes, as_json=as_json)
    else:
        _give(context, tenant, lambda s, t: s.service.hand_over(t, reference or "", command), as_json=as_json)


def mark_answered(
    context: typer.Context,
    reference: Reference,
    *,
    reason: Reason,
    answer: Annotated[list[str] | None, typer.Option("--answer", help="An answer as FIELD=VALUE; repeatable.")] = None,
    text: Annotated[str, typer.Option(help="What the candidate said, in words.")] = "",
    actor: Actor = None,
    command_id: CommandId = None,
    tenant: TenantOption = None,
    as_json: Json = False,
) -> None:
    """End an engagement as COMPLETED: the candidate answered by another way, by telephone for example."""
    answers = _answers(answer or [])
    command = command_of(MarkAnswered, actor, reason, command_id, answers=answers, text=text)
    _give(context, tenant, lambda s, t: s.service.mark_answered(t, reference, command), as_json=as_json)


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


def the_id(where: str | None, command_id: str | None, bulk_id: str | None) -> str | None:
    """The command's id: one for all of a bulk, so that a repeat goes on. Raises ``BadInput``."""
    if where is None and bulk_id is not None:
        raise BadInput([Mistake("belongs to --where", field="--bulk-id")])
    if where is not None and command_id is not None:
        raise BadInput([Mistake("with --where it is --bulk-id", field="--command-id")])
    return command_id if where is None else bulk_id or f"bulk-{uuid.uuid4()}"


def one_of(given: Mapping[str, str | None]) -> None:
    """Raise ``BadInput`` unless exactly one of these ways to say who is meant was used."""
    used = [name for name, value in given.items() if value is not None]
    if not used:
        raise BadInput([Mistake(f"say who is meant: one of {', '.join(given)}", field="REFERENCE")])
    if len(used) > 1:
        raise BadInput([Mistake("not together with the others", field=name) for name in used])


def _answers(given: Sequence[str]) -> dict[str, JsonValue]:
    wrong = [Mistake("must be FIELD=VALUE", field="--answer") for text in given if "=" not in text]
    if wrong:  # what stands there may be an answer, so it is not repeated
        raise BadInput(wrong)
    return dict(text.partition("=")[::2] for text in given)


def command_of(kind: type[C], actor: str | None, reason: str, command_id: str | None, **more: JsonValue) -> C:
    """A command as given. Raises ``BadInput`` with every mistake in it."""
    given = {
        "command_id": command_id or f"cli-{uuid.uuid4()}",
        "actor": actor or user(),
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
