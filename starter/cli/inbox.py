"""The commands ``inbox list``, ``show``, ``replay``, ``assign`` and ``discard``.

What a person wrote and their address are never shown. The provider's ids are: they lead to the conversation there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from domain.calls import Command
from domain.errors import BadInput, Mistake, NotAllowed, NotFound
from gateway.desk import InboxEvent, InboxEventDetails, InboxService
from starter.cli import output
from starter.cli.errors import EPILOG, ExitCode
from starter.cli.operating import Actor, Reason, command_of
from starter.cli.output import Json, TenantOption
from starter.cli.reading import Reference
from starter.cli.session import Session, sessions
from store.inbox_desk import REPLAYABLE, WAITING_FOR_A_PERSON, Wanted
from store.inbox_tables import EventState

T = TypeVar("T")

app = typer.Typer(
    help="Look after events that found no engagement.", epilog=EPILOG, no_args_is_help=True, add_completion=False
)

EventId = Annotated[int, typer.Argument(help="The event, as `rapport inbox list` numbers it.", min=1)]
States = Annotated[
    list[EventState] | None,
    typer.Option("--state", help="Only events in this state; may be given several times."),
]
Account = Annotated[str, typer.Option("--account", help="Only events that came in at this account.")]
Because = Annotated[str, typer.Option("--reason", help="Only events whose reason contains this.")]

_STYLES = {
    EventState.UNMATCHED: "yellow",
    EventState.PARKED: "magenta",
    EventState.QUARANTINED: "red",
    EventState.LATE: "yellow",
}


@app.callback()
def _group() -> None:
    """Look after events that found no engagement."""


@app.command("list", epilog=EPILOG)
def list_events(
    context: typer.Context,
    *,
    state: States = None,
    every: Annotated[bool, typer.Option("--all", help="Every state, also what was taken long ago.")] = False,
    account: Account = "",
    reason: Because = "",
    before: Annotated[int | None, typer.Option(help="Only events with a smaller number: the next page.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Events to show.")] = 50,
    as_json: Json = False,
) -> None:
    """List events, newest first: without --state those that wait for a person."""
    if state and every:
        raise BadInput([Mistake("cannot be given together with --all", field="--state")])
    states = tuple(state) if state else () if every else WAITING_FOR_A_PERSON
    wanted = Wanted(states=states, account=account, rule=reason, before=before, limit=limit)
    events = _with_inbox(context, lambda session: session.at_inbox().list(wanted))
    if as_json:
        output.print_json(events)
    else:
        _print_events(events, limit)


@app.command(epilog=EPILOG)
def show(context: typer.Context, event: EventId, *, as_json: Json = False) -> None:
    """Show one event: why it stands where it stands, what ties it, and what it may belong to."""
    details = _with_inbox(context, lambda session: session.at_inbox().show(event))
    if as_json:
        output.print_json(details)
    else:
        _print_details(details)


@app.command(epilog=EPILOG)
def replay(
    context: typer.Context,
    events: Annotated[list[int] | None, typer.Argument(help="Events by number.", metavar="[EVENT]…")] = None,
    *,
    state: Annotated[EventState | None, typer.Option("--state", help="Every event in this state.")] = None,
    account: Account = "",
    reason: Because = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most events with --state.")] = 100,
    as_json: Json = False,
) -> None:
    """Try events again: read a quarantined delivery anew, take any other through correlation once more.

    Ends with 1 when some of them still found no place.
    """
    if bool(events) == bool(state):
        raise BadInput([Mistake("name events by number, or all of a state with --state", field="EVENT")])
    if state is not None and state not in REPLAYABLE:
        raise BadInput([Mistake(f"only {', '.join(REPLAYABLE)} can be tried again", field="--state")])
    wanted = Wanted(states=(state,) if state else (), account=account, rule=reason, limit=limit)

    async def run(session: Session) -> list[InboxEvent]:
        inbox = session.at_inbox()
        chosen = events or [one.id for one in reversed(await inbox.list(wanted))]  # in order of arrival
        return await _replayed(inbox, chosen, one_by_one=bool(events))

    replayed = _with_inbox(context, run)
    if as_json:
        output.print_json(replayed)
    else:
        _print_events(replayed)
    if any(one.state in WAITING_FOR_A_PERSON for one in replayed):
        raise typer.Exit(ExitCode.FAILED)


@app.command(epilog=EPILOG)
def assign(
    context: typer.Context,
    event: EventId,
    reference: Reference,
    *,
    reason: Reason,
    actor: Actor = None,
    tenant: TenantOption = None,
    as_json: Json = False,
) -> None:
    """Hand an event to an engagement. You answer for it: who and why are kept with the event."""
    by = command_of(Command, actor, reason, None)
    moved = _with_inbox(context, lambda s: s.at_inbox().assign(event, s.tenant(tenant), reference, by.actor, by.reason))
    _tell(moved, f"event {event} goes to {moved.workflow_id}", as_json=as_json)


@app.command(epilog=EPILOG)
def discard(
    context: typer.Context, event: EventId, *, reason: Reason, actor: Actor = None, as_json: Json = False
) -> None:
    """Put an event aside that belongs nowhere. Who and why are kept with it; it is not tried again."""
    by = command_of(Command, actor, reason, None)
    moved = _with_inbox(context, lambda s: s.at_inbox().discard(event, by.actor, by.reason))
    _tell(moved, f"event {event} is put aside", as_json=as_json)


async def _replayed(inbox: InboxService, events: Sequence[int], *, one_by_one: bool) -> list[InboxEvent]:
    """Of events that were named each must be there; of those that were found some may have moved on meanwhile."""
    replayed = []
    for event_id in events:
        try:
            replayed.append(await inbox.replay(event_id))
        except (NotFound, NotAllowed):
            if one_by_one:
                raise
    return replayed


def _with_inbox(context: typer.Context, act: Callable[[Session], Awaitable[T]]) -> T:
    async def run() -> T:
        async with sessions(context)() as session:
            return await act(session)

    return asyncio.run(run())


def _tell(event: InboxEvent, text: str, *, as_json: bool) -> None:
    if as_json:
        output.print_json(event)
    else:
        output.screen().print(Text(text, style="green"))


def _print_events(events: Sequence[InboxEvent], limit: int = 0) -> None:
    console = output.screen()
    if not events:
        console.print("no events")
        return
    table = Table("event", "received", "account", "what", "state", "reason", "engagement", box=None)
    for one in events:
        reason = f"{one.reason}; {one.failures} signals failed" if one.failures else one.reason
        state = Text(one.state.value, style=_STYLES.get(one.state, ""))
        received = output.instant(one.received_at)
        table.add_row(str(one.id), received, one.account, one.kind, state, Text(reason), Text(one.workflow_id))
    console.print(table)
    if len(events) == limit:
        console.print(Text(f"more: --before {events[-1].id}", style="dim"))
    if any(one.state in WAITING_FOR_A_PERSON for one in events):
        console.print(Text("look at one: rapport inbox show EVENT", style="dim"))


def _print_details(details: InboxEventDetails) -> None:
    console, event = output.screen(), details.event
    state = Text(event.state.value, style=_STYLES.get(event.state, ""))
    console.print(Text.assemble((f"event {event.id}", "bold"), "  ", state))
    facts = [
        ("what", event.kind),
        ("reason", event.reason),
        ("provider", f"{event.provider}, account {event.account}"),
        ("happened", output.instant(details.occurred_at)),
        ("received", output.instant(event.received_at)),
        ("settled", output.instant(event.settled_at)),
        ("engagement", event.workflow_id),
        ("send", event.send_key),
        ("failures", f"{event.failures}, next at {output.instant(event.tried_again_at)}" if event.failures else ""),
        *((f"tie {name}", value) for name, value in details.ties.items()),
        ("may be of", "\n".join(details.may_belong_to)),
    ]
    for name, value in facts:
        if value:
            console.print(Text.assemble((f"{name:>16}  ", "dim"), value))
    console.print(Text(_NEXT.get(event.state, ""), style="dim"))


_NEXT = {
    EventState.UNMATCHED: "rapport inbox replay EVENT, assign EVENT REFERENCE --reason … or discard EVENT --reason …",
    EventState.PARKED: "rapport inbox assign EVENT REFERENCE --reason … or discard EVENT --reason …",
    EventState.QUARANTINED: "after a repair: rapport inbox replay EVENT; else discard EVENT --reason …",
    EventState.LATE: "its engagement was over; where that was wrong: rapport inbox replay EVENT",
}
"""What may be done about an event in each state."""
