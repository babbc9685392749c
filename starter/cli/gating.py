"""How gates and what they answer look to people, for the commands ``templates`` and ``holds``."""

from rich.console import Console
from rich.text import Text

from domain.calls import CommandResult
from domain.gates import GateSnapshot, GateStatus
from starter.cli import output

_STYLES = {
    GateStatus.WAITING: "cyan",
    GateStatus.ON_TRIAL: "cyan",
    GateStatus.OPENING: "green",
    GateStatus.REFUSING: "red",
    GateStatus.CLOSED: "dim",
}
_LAST_DECISIONS = 10


def print_result(result: CommandResult, *, as_json: bool) -> None:
    """What became of a command."""
    if as_json:
        output.print_json(result)
    else:
        style = "green" if result.accepted else "yellow"
        output.screen().print(Text(f"{result.command}: {result.text}", style=style))


def gate_text(snapshot: GateSnapshot) -> Text:
    """What a gate is doing, in its colour; magenta where a person is needed."""
    if snapshot.needs_human:
        return Text(f"{snapshot.status.value} (needs a person)", style="magenta")
    return Text(snapshot.status.value, style=_STYLES[snapshot.status])


def print_gate(snapshot: GateSnapshot, console: Console | None = None) -> None:
    """Where a gate stands, and its last decisions."""
    console = console or output.screen()
    console.print(Text.assemble((snapshot.gate, "bold"), "  ", gate_text(snapshot)))
    reading = snapshot.reading
    said = "" if reading is None else reading.raw_status or reading.template_status.value
    facts = [
        ("waiting", f"{snapshot.waiting} ({snapshot.joined} came, {snapshot.left} left, {snapshot.released} told)"),
        ("since", output.instant(snapshot.since)),
        ("because", snapshot.reason),
        ("provider", f"{said}, read {output.instant(snapshot.read_at)}" if said else ""),
        ("next look", output.instant(snapshot.until)),
    ]
    for name, value in facts:
        if value:
            console.print(Text.assemble((f"{name:>12}  ", "dim"), value))
    for decision in snapshot.decisions[-_LAST_DECISIONS:]:
        by = f" (by {decision.actor})" if decision.actor else ""
        console.print(Text(f"{output.instant(decision.at):>22}  {decision.rule}: {decision.text}{by}", style="dim"))
