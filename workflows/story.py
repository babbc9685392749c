"""What Temporal UI shows of an engagement: Markdown without personal data, and the snapshot."""

from datetime import datetime

from domain.engagements import Engagement
from domain.following import Following
from domain.free_form import MessageForm
from domain.ids import engagement_workflow_id
from domain.plans import Plan
from domain.send_record import SendRecord
from domain.snapshot import EngagementSnapshot, HoldView, PauseView, SendView, StepView
from domain.state import EngagementState

LAST_DECISIONS = 8


def current_details(engagement: Engagement, state: EngagementState, waiting_for: str, end: datetime | None) -> str:
    """Stage, next instant, hold, table of sends and last decisions, as Markdown."""
    route, plan = engagement.route, engagement.plan
    lines = [
        f"**{state.stage}** · {engagement.reference} · {plan.name} v{plan.version} on {route.line} ({route.provider})"
    ]
    if state.settlement is not None:
        lines.append(f"**{state.settlement.outcome}** by `{state.settlement.rule}`: {state.settlement.reason}")
    elif waiting_for:
        lines.append(f"Waiting for: {waiting_for}" + (f", until {instant(end)}" if end else ""))
    if state.pause is not None:
        pause = state.pause
        lines.append(f"**Paused** since {instant(pause.since)} by {pause.actor}: {pause.reason}")
    if state.hold is not None:
        lines.append(f"**Held** since {instant(state.hold.since)} by `{state.hold.rule}`: {state.hold.reason}")
        if state.hold.gate:
            lines.append(f"Waits with others at `{state.hold.gate}`")
    if state.needs_human:
        lines.append("**Needs a person.**")
    if state.sends:
        lines += ["", "| send | template | state | flow run | message | provider ids |", "|---|---|---|---|---|---|"]
        lines += [
            f"| {s.step} #{s.n} | {_said(s)} | {s.state} | {s.run_status or ''} | {s.message_status or ''} |"
            f" {' '.join(filter(None, (s.receipt.reference, s.receipt.run_id, s.receipt.message_id)))} |"
            for s in state.sends
        ]
    if state.decisions:
        lines += ["", "Last decisions:", ""]
        lines += [
            f"- {instant(d.at)} `{d.rule}` {d.text}{f' ({d.actor})' if d.actor else ''}"
            for d in state.decisions[-LAST_DECISIONS:]
        ]
    return "\n".join(lines)


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
