"""What Temporal UI shows of an engagement: Markdown without personal data, and the snapshot."""

from collections.abc import Sequence
from datetime import datetime

from domain.audit import in_one_line
from domain.engagements import Engagement
from domain.following import Following
from domain.free_form import MessageForm
from domain.ids import engagement_workflow_id
from domain.outcomes import Decision, Settlement
from domain.plans import Plan
from domain.send_record import SendRecord
from domain.snapshot import EngagementSnapshot, HoldView, PauseView, SendView, StepView
from domain.state import EngagementState
from workflows.search_attributes import findable_job

LAST_DECISIONS = 8
LAST_OF_ONE_KIND = 5

_OF_CANDIDATE = {
    "text": "",
    "form-answer": "",
    "flow-finished": "",
    "cancelled-by-candidate": "",
    "opt-in": "",
    "opt-out-engagement": "",
    "opt-out-line": "",
    "opt-out-marketing": "",
    "flow-run": "the flow is running",
    "message-status": ": read",
}
"""Rules of decisions that tell what the candidate did, and how those end. What was written or answered is in none."""
_MARKUP = str.maketrans({one: f"\\{one}" for one in "\\`*[]<>|"})


def current_details(
    engagement: Engagement, state: EngagementState, waiting_for: str, end: datetime | None, since: datetime | None
) -> str:
    """Stage, wait, hold, sends, what the candidate and operators did, last decisions, as Markdown without tables.

    Temporal UI draws the cells of a table without any space between them, and lists only after an empty line.
    """
    route, plan = engagement.route, engagement.plan
    job = findable_job(engagement.job, engagement.candidate.phone)
    about = f" · job {job}" if job else ""
    where = f"{plan.name} v{plan.version} on {route.line} ({route.provider})"
    blocks = [
        [f"**{state.stage}** · {engagement.reference}{about} · {where}"],
        _standing(state, waiting_for, end, since),
        ["Sends:", "", *(line for send in state.sends for line in _sent(send))] if state.sends else [],
        _told("The candidate (in kind, not in content):", [d for d in state.decisions if _is_of_candidate(d)]),
        _told("Operators and other systems:", [d for d in state.decisions if d.actor]),
        _told("Last decisions:", state.decisions, LAST_DECISIONS),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def why_waiting(state: EngagementState) -> str:
    """What keeps it back, in one line; empty while it waits for nothing but an answer."""
    if state.pause is not None:
        return f"paused by {state.pause.actor}: {state.pause.reason}"
    return f"{state.hold.rule}: {state.hold.reason}" if state.hold is not None else ""


def why_so(settlement: Settlement, state: EngagementState) -> str:
    """What decided the outcome, and who, in one line."""
    decided = next((d for d in state.decisions if d.rule == settlement.rule and d.at == settlement.at), None)
    by = f" ({decided.actor})" if decided is not None and decided.actor else ""
    return f"{settlement.rule}: {settlement.reason}{by}"


def _standing(state: EngagementState, waiting_for: str, end: datetime | None, since: datetime | None) -> list[str]:
    """How it ended, or what it waits for since when and until when, and who or what keeps it back. A line each."""
    lines = []
    if state.settlement is not None:
        lines.append(f"**{state.settlement.outcome}** by {plain(why_so(state.settlement, state))}")
        lines.append(f"Decided: {instant(state.settlement.at)}")
    elif waiting_for:
        lines.append(f"**Waiting for** {waiting_for}" + (f", until {instant(end)}" if end else ""))
        lines += [f"Waiting since {instant(since)}"] if since else []
    if state.pause is not None:
        pause = state.pause
        lines.append(f"**Paused** since {instant(pause.since)} by {plain(pause.actor)}: {plain(pause.reason)}")
    if state.hold is not None:
        hold = state.hold
        lines.append(f"**Held** since {instant(hold.since)} by `{hold.rule}`: {plain(hold.reason)}")
        lines += [f"Waits with others at `{hold.gate}`"] if hold.gate else []
    if state.needs_human:
        lines.append("**Needs a person.**")
    return [f"- {line}" for line in lines]


def _sent(send: SendRecord) -> list[str]:
    """One send: what became of it, and by which ids its provider knows it."""
    known = [
        f"template {_said(send)}" if send.receipt.form is not MessageForm.FREE_FORM else _said(send),
        f"flow {send.run_status}" if send.run_status else "",
        f"message {send.message_status}" if send.message_status else "",
        f"begun {instant(send.since)}",
    ]
    receipt = send.receipt
    ids = {"reference": receipt.reference, "flow run": receipt.run_id, "message": receipt.message_id}
    given = [f"{name} `{its}`" for name, its in ids.items() if its]
    lines = [f"- {send.step} #{send.n}: **{send.state}** · {' · '.join(filter(None, known))}"]
    return [*lines, f"- {send.step} #{send.n}, ids at the provider: {', '.join(given)}"] if given else lines


def _told(title: str, decisions: Sequence[Decision], most: int = LAST_OF_ONE_KIND) -> list[str]:
    told = [
        f"- {instant(d.at)} `{d.rule}` {plain(d.text)}{f' ({plain(d.actor)})' if d.actor else ''}"
        for d in decisions[-most:]
    ]
    return [title, "", *told] if told else []


def _is_of_candidate(decision: Decision) -> bool:
    ending = _OF_CANDIDATE.get(decision.rule)
    return ending is not None and not decision.actor and decision.text.endswith(ending)


def plain(text: str) -> str:
    """What somebody typed or a provider told, as nothing but text in one line: it can draw no line of ours."""
    return in_one_line(text).translate(_MARKUP)


def instant(at: datetime | None) -> str:
    """An instant as people read it, in UTC."""
    return at.strftime("%Y-%m-%d %H:%M:%S UTC") if at else ""


def snapshot(
    engagement: Engagement, state: EngagementState, plan: Plan, waiting_for: str, end: datetime | None
) -> EngagementSnapshot:
    """Where the engagement stands, as programs read it. ``plan`` is the whole one, of both lines."""
    hold, pause = state.hold, state.pause
    return EngagementSnapshot(
        workflow_id=engagement_workflow_id(engagement.tenant, engagement.reference),
        tenant=engagement.tenant,
        reference=engagement.reference,
        plan=engagement.plan.name,
        plan_version=engagement.plan.version,
        steps=_steps(plan, state),
        zone=engagement.zone,
        started_at=state.started_at,
        line=engagement.route.line,
        provider=engagement.route.provider,
        stage=state.stage.value,
        hold=HoldView(rule=hold.rule, reason=hold.reason, since=hold.since, gate=hold.gate) if hold else None,
        pause=PauseView(actor=pause.actor, reason=pause.reason, since=pause.since) if pause else None,
        waiting_for="" if state.settlement else waiting_for,
        until=None if state.settlement else end,
        sends=tuple(
            SendView(
                key=s.key,
                step=s.step,
                n=s.n,
                template=s.template,
                form=s.receipt.form,
                send_state=s.state,
                flow_run_status=s.run_status,
                message_status=s.message_status,
                reference=s.receipt.reference,
                run_id=s.receipt.run_id,
                message_id=s.receipt.message_id,
                at=s.since,
            )
            for s in state.sends
        ),
        decisions=tuple(state.decisions),
        settlement=state.settlement,
        needs_human=state.needs_human,
        follow_ups_left=Following(engagement, state).left(),
    )


def _steps(plan: Plan, state: EngagementState) -> tuple[StepView, ...]:
    """What the plan may send: the opening, its follow-ups in their order, and what opens on the fallback line."""
    its = {"opening": plan.opening} | {f"follow-up-{place}": one for place, one in enumerate(plan.follow_ups, 1)}
    fallback = state.went_over.line if state.went_over is not None else plan.fallback
    if fallback is not None:
        its["fallback-opening"] = fallback.opening
    return tuple(
        StepView(name=name, template=one.template.name, language=one.template.language, with_flow=one.flow is not None)
        for name, one in its.items()
    )


def _said(send: SendRecord) -> str:
    """The template; where it left without one, that."""
    return "free text" if send.receipt.form is MessageForm.FREE_FORM else send.template
