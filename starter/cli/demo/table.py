"""The demo's live table and its closing one."""

from collections.abc import Mapping
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from domain.ids import engagement_workflow_id
from starter.cli.demo.story import Expected
from starter.cli.output import outcome_text, state_text
from starter.gates import OpenGate
from starter.views import EngagementView

TENANT = "acme"


@dataclass
class Row:
    """One candidate, as last seen."""

    expected: Expected
    view: EngagementView | None = None
    messages: int = 0

    @property
    def is_over(self) -> bool:
        """Whether the engagement has its outcome."""
        return self.view is not None and self.view.summary.outcome is not None

    @property
    def is_right(self) -> bool:
        """Whether it ended as it should, with as many messages on the phone as it should."""
        outcome = self.view.summary.outcome if self.view else None
        return outcome is self.expected.outcome and self.messages == self.expected.messages


def gate_line(gate: OpenGate) -> str:
    """Who waits at a gate, and for what."""
    seen = gate.snapshot
    if seen is None:
        return f"{gate.gate}: not open"
    counts = f"{seen.waiting} waiting" if seen.waiting else f"{seen.released} waited and went on"
    return f"{gate.gate}: {counts}; the provider says {seen.reading.raw_status if seen.reading else 'nothing yet'}"


def live_table(rows: Mapping[str, Row], caption: str) -> Table:
    """Where each engagement stands now."""
    table = Table(title="engagements", caption=caption, caption_justify="left", title_justify="left")
    table.add_column("line", no_wrap=True)
    table.add_column("candidate", no_wrap=True, min_width=23)
    table.add_column("stage or outcome", no_wrap=True, min_width=16)
    table.add_column("sent", justify="right")
    table.add_column("waiting for, or why", overflow="ellipsis", no_wrap=True)
    for reference, row in rows.items():
        state = state_text(row.view.summary) if row.view else Text("starting", style="dim")
        table.add_row(_line(row), reference, state, str(row.messages), _remark(row))
    return table


def closing_table(rows: Mapping[str, Row], ui: str) -> Table:
    """How each engagement ended, why, and whether that was expected; names link to Temporal UI where links work."""
    table = Table(title="outcomes", title_justify="left")
    table.add_column("line", no_wrap=True)
    table.add_column("candidate", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("messages", justify="right")
    table.add_column("as expected")
    table.add_column("why")
    for reference, row in rows.items():
        link = f"{ui}/namespaces/default/workflows/{engagement_workflow_id(TENANT, reference)}"
        outcome = outcome_text(row.view.summary.outcome if row.view else None)
        name = Text(reference, style=f"link {link}")
        table.add_row(_line(row), name, outcome, str(row.messages), _verdict(row), _remark(row))
    return table


def _line(row: Row) -> str:
    return row.view.summary.line if row.view else ""


def _verdict(row: Row) -> Text:
    if row.is_right:
        return Text("yes", style="green")
    wanted = f"{row.expected.outcome.value} with {row.expected.messages}"
    return Text(f"NO, {wanted}", style="bold red")


def _remark(row: Row) -> str:
    snapshot = row.view.snapshot if row.view else None
    if snapshot is None:
        return ""
    if snapshot.settlement is not None:
        return snapshot.settlement.reason
    if snapshot.hold is not None:
        return f"held: {snapshot.hold.reason}"
    return snapshot.waiting_for
