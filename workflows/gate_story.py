"""What Temporal UI shows of a gate: Markdown without personal data, and the snapshot."""

from datetime import datetime

from domain.audit import in_one_line
from domain.gates import Gate, GateSnapshot, GateState
from workflows.story import instant

LAST_DECISIONS = 10
FIRST_WAITING = 20


def gate_details(gate: Gate, state: GateState, due: datetime) -> str:
    """State, since when, how many wait, next look, last answer, reason."""
    count = f"{state.joined} came, {state.left} left by themselves, {state.released} were told"
    lines = [
        f"**{state.status}** · {gate.scope_key}",
        f"**{len(state.waiting)} waiting** since {instant(state.since)}; {count}",
        f"Looked {state.looks} times" + ("" if state.closed else f"; next look: {instant(due)}"),
    ]
    if state.reading is not None:
        said = state.reading.raw_status or state.reading.template_status.value
        why = f" ({state.reading.reason})" if state.reading.reason else ""
        lines.append(f"Last answer of the provider: **{said}**{why} at {instant(state.read_at)}")
    if state.refusal is not None:
        over = f", over at {instant(state.refusal.until)}" if state.refusal.until else ""
        lines.append(f"Held since {instant(state.refusal.at)} by `{state.refusal.code}`: {state.refusal.reason}{over}")
    if state.trial:
        lines.append(f"On trial: {state.trial}, until {instant(state.trial_until)}")
    if state.problem:
        lines.append(f"Trouble: {state.problem}")
    if state.needs_human:
        lines.append("**Needs a person.**")
    if state.waiting:
        lines += ["", "First in line:", "", *(f"- {one}" for one in state.waiting[:5])]
    if state.decisions:
        lines += ["", "Last decisions:", ""]
        lines += [
            f"- {instant(d.at)} `{d.rule}` {in_one_line(d.text)}{f' ({d.actor})' if d.actor else ''}"
            for d in state.decisions[-LAST_DECISIONS:]
        ]
    return "\n".join(lines)


def gate_reason(state: GateState) -> str:
    """Why the gate is shut, in one line."""
    if state.ruling is not None:
        return state.ruling.reason
    if state.refusal is not None:
        return state.refusal.reason
    if state.problem:
        return state.problem
    if state.reading is None:
        return ""
    said = state.reading.raw_status or state.reading.template_status.value
    return f"{said} ({state.reading.reason})" if state.reading.reason else said


def gate_snapshot(gate: Gate, state: GateState, due: datetime) -> GateSnapshot:
    """Where the gate stands, as programs read it."""
    return GateSnapshot(
        gate=gate.workflow_id,
        scope=gate.scope,
        status=state.status,
        waiting=len(state.waiting),
        since=state.since,
        until=None if state.closed else due,
        reason=gate_reason(state),
        reading=state.reading,
        read_at=state.read_at,
        looks=state.looks,
        joined=state.joined,
        left=state.left,
        released=state.released,
        needs_human=state.needs_human,
        decisions=tuple(state.decisions),
        first_waiting=tuple(state.waiting[:FIRST_WAITING]),
    )
