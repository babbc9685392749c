"""How answers look: tables for people, JSON for programs. No phone number, no name, and no answer unless asked for."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from domain.outcomes import EngagementOutcome
from domain.sends import LedgerEntry, LedgerState
from domain.snapshot import EngagementSnapshot
from starter.views import EngagementPage, EngagementSummary, EngagementView, Trace, TraceSource

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
TenantOption = Annotated[
    str | None,
    typer.Option("--tenant", help="The tenant; may be left out where there is one.", envvar="RAPPORT_TENANT"),
]

_UNCUT = 240
"""Width in characters of tables that go into a file or a pipe."""
_GOOD = {EngagementOutcome.COMPLETED}
_NEUTRAL = {
    EngagementOutcome.DECLINED,
    EngagementOutcome.OPTED_OUT,
    EngagementOutcome.NO_REPLY,
    EngagementOutcome.STOPPED,
    EngagementOutcome.WITHDRAWN,
    EngagementOutcome.HANDED_OVER,
}


def screen() -> Console:
    """The console of now, so that a captured standard output is honoured. Nothing is cut where nobody looks."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_UNCUT)


def _whole(header: str) -> Column:
    """A column of what people copy: never cut, rather folded."""
    return Column(header, overflow="fold", no_wrap=False, min_width=len(header))


def print_json(value: BaseModel | Sequence[BaseModel]) -> None:
    """One JSON document on standard output."""
    plain = (
        value.model_dump(mode="json") if isinstance(value, BaseModel) else [v.model_dump(mode="json") for v in value]
    )
    sys.stdout.write(json.dumps(plain, indent=2, ensure_ascii=False) + "\n")


def instant(at: datetime | None) -> str:
    """UTC to the second."""
    return "" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def outcome_text(outcome: EngagementOutcome | None) -> Text:
    """An outcome in its colour: green for done, yellow for ended otherwise, red for what somebody must look at."""
    if outcome is None:
        return Text("")
    style = "green" if outcome in _GOOD else "yellow" if outcome in _NEUTRAL else "red"
    return Text(outcome.value, style=style)


def state_text(summary: EngagementSummary) -> Text:
    """Outcome or stage in its colour; magenta where a person is needed."""
    if summary.outcome is not None:
        return outcome_text(summary.outcome)
    if summary.needs_human:
        return Text(f"{summary.stage or 'open'} (needs a person)", style="magenta")
    return Text(summary.stage or "open", style="cyan")


def print_page(page: EngagementPage) -> None:
    """A table of engagements."""
    console = screen()
    if not page.engagements:
        console.print("no engagements")
    else:
        table = Table(_whole("reference"), "state", "plan", "line", "registered", "next action", "closed", box=None)
        for one in page.engagements:
            table.add_row(
                Text(one.reference),
                state_text(one),
                one.plan,
                one.line,
                instant(one.registered_at),
                instant(one.next_action_at),
                instant(one.closed_at),
            )
        console.print(table)
    if page.note:
        console.print(Text(page.note, style="yellow"))
    if page.next_cursor:
        console.print(Text(f"more: --after {page.next_cursor}", style="dim"))


def print_view(view: EngagementView, *, with_answers: bool) -> None:
    """One engagement for a person."""
    console, summary, snapshot = screen(), view.summary, view.snapshot
    console.print(Text.assemble((summary.reference, "bold"), "  ", state_text(summary)))
    facts = [("workflow", summary.workflow_id), ("plan", _plan(view)), ("line", summary.line)]
    facts += [("registered", instant(summary.registered_at)), ("closed", instant(summary.closed_at))]
    if snapshot is not None:
        facts += [*_standing(snapshot), *_settled(snapshot, with_answers=with_answers)]
    for name, value in facts:
        if value:
            console.print(Text.assemble((f"{name:>12}  ", "dim"), value))
    if snapshot is not None and snapshot.sends:
        console.print(_sends_table(snapshot))
    if view.note:
        console.print(Text(view.note, style="yellow"))


def _plan(view: EngagementView) -> str:
    """The plan, and the version by which it goes on now: only the engagement itself knows whether it was moved."""
    version = view.snapshot.plan_version if view.snapshot is not None else 0
    return f"{view.summary.plan}, version {version}" if version else view.summary.plan


def _standing(snapshot: EngagementSnapshot) -> list[tuple[str, str]]:
    facts = [("waits for", snapshot.waiting_for), ("until", instant(snapshot.until))]
    if snapshot.pause is not None:
        pause = snapshot.pause
        facts.append(("paused", f"by {pause.actor}: {pause.reason} (since {instant(pause.since)})"))
    if snapshot.hold is not None:
        hold = snapshot.hold
        facts.append(("held", f"{hold.rule}: {hold.reason} (since {instant(hold.since)})"))
    return facts


def _settled(snapshot: EngagementSnapshot, *, with_answers: bool) -> list[tuple[str, str]]:
    end = snapshot.settlement
    if end is None:
        return []
    facts = [("because", f"{end.reason} ({end.rule})")]
    if with_answers:
        facts += [(f"answer {name}", str(value)) for name, value in end.answers.items()]
        facts.append(("answer", end.text))
    elif end.answers or end.text:
        facts.append(("answers", "there are some: --answers shows them"))
    return facts


def _sends_table(snapshot: EngagementSnapshot) -> Table:
    table = Table(_whole("send key"), "template", "send", "message", "run", "at", box=None)
    for send in snapshot.sends:
        message = send.message_status.value if send.message_status is not None else ""
        table.add_row(
            Text(send.key), send.template, send.send_state.value, message, Text(send.run_id), instant(send.at)
        )
    return table


def print_trace(trace: Trace) -> None:
    """What happened, a line each; decisions stand out from history."""
    console = screen()
    table = Table("at", "what", "", box=None)
    for entry in trace.entries:
        style = "bold" if entry.source is TraceSource.DECISION else "dim"
        text = f"{entry.text} (by {entry.actor})" if entry.actor else entry.text
        table.add_row(Text(instant(entry.at), style="dim"), Text(entry.what, style=style), Text(text, style=style))
    console.print(table)
    print_note(trace.note)


def print_note(note: str) -> None:
    """What could not be read, and why; nothing where there is nothing to say."""
    if note:
        screen().print(Text(note, style="yellow"))


def print_sends(entries: Sequence[LedgerEntry], none: str) -> None:
    """Rows of the send ledger."""
    console = screen()
    if not entries:
        console.print(none)
        return
    table = Table(
        _whole("send key"), "state", "line", "template", _whole("reference at the provider"), "claimed", box=None
    )
    for entry in entries:
        is_unknown = entry.state is LedgerState.UNKNOWN
        state = Text(entry.state.value, style="magenta" if is_unknown else "")
        claimed = instant(entry.claimed_at)
        table.add_row(Text(entry.key), state, entry.line, entry.template, Text(entry.reference), claimed)
    console.print(table)
    if any(entry.state is LedgerState.UNKNOWN for entry in entries):
        console.print(Text("settle one: rapport resolve-send REFERENCE SEND_KEY --sent|--not-sent", style="dim"))
