"""What Temporal UI shows of a gate: Markdown without personal data, and the snapshot."""

from collections.abc import Iterator
from datetime import datetime

from domain.gates import Gate, GateSnapshot, GateState
from domain.outcomes import Decision
from workflows.story import instant, plain

LAST_DECISIONS = 10
FIRST_WAITING = 20


def gate_details(gate: Gate, state: GateState, due: datetime) -> str:
    """State, since when, how many wait, next look, last answer, reason. Lists, as on an engagement's page."""
    blocks = [
        [f"**{state.status}** · {gate.scope_key}"],
        [f"- {line}" for line in _standing(state, due)],
        ["First in line:", "", *(f"- {one}" for one in state.waiting[:5])] if state.waiting else [],
        ["Last decisions:", "", *map(_decided, state.decisions[-LAST_DECISIONS:])] if state.decisions else [],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _standing(state: GateState, due: datetime) -> Iterator[str]:
    count = f"{state.joined} came, {state.left} left by themselves, {state.released} were told"
    yield f"**{len(state.waiting)} waiting** since {instant(state.since)}; {count}"
    yield f"Looked {state.looks} times" + ("" if state.closed else f"; next look: {instant(due)}")
    if state.reading is not None:
        said = plain(state.reading.raw_status or state.reading.template_status.value)
        why = f" ({plain(state.reading.reason)})" if state.reading.reason else ""
        yield f"Last answer of the provider: **{said}**{why} at {instant(state.read_at)}"
    if state.refusal is not None:
        over = f", over at {instant(state.refusal.until)}" if state.refusal.until else ""
        why = plain(state.refusal.reason)
        yield f"Held since {instant(state.refusal.at)} by `{state.refusal.code}`: {why}{over}"
    if state.trial:
        yield f"On trial: {state.trial}, until {instant(state.trial_until)}"
    if state.problem:
        yield f"Trouble: {plain(state.problem)}"
    if state.needs_human:
        yield "**Needs a person.**"


def _decided(decision: Decision) -> str:
    by = f" ({plain(decision.actor)})" if decision.actor else ""
    return f"- {instant(decision.at)} `{decision.rule}` {plain(decision.text)}{by}"


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
