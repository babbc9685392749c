"""Truora's words and ours. Unknown words stay as they are and never count as success."""

import re

from domain.contacts import Alias, AliasKind
from domain.events import FlowRunStatus, Ties
from domain.model import JsonValue
from domain.plans import FlowRef, TemplateRef
from domain.sends import FlowRun, TemplateReading, TemplateStatus
from providers.truora.schemas import Outbound, ProcessResult, id_in
from providers.truora.settings import EventMembers, TruoraSettings
from providers.wire import as_instant, mask_numbers

_VARIABLE = re.compile(r"\{\{\s*\.([A-Za-z][A-Za-z0-9_]{0,63})\s*\}\}", re.ASCII)
_NUMBER = re.compile(r"\+?([1-9][0-9]{6,14})", re.ASCII)
_OUR_REFERENCE = re.compile(r"att_[A-Za-z0-9_.-]{1,60}", re.ASCII)
"""The shape of a reference of ours (``domain.sends.SendNames``); what others put into ``account_id`` ties nothing."""

_PROCESS_STATUS = {
    "pending": FlowRunStatus.RUNNING,
    "success": FlowRunStatus.FINISHED,
    "failure": FlowRunStatus.FAILED,
}


def digits_of(number: str) -> str:
    """The digits of a number with or without plus; empty for one that is masked or no number."""
    found = _NUMBER.fullmatch(number.strip())
    return found.group(1) if found else ""


def person(number: str) -> tuple[Alias, ...]:
    """A number recognises a person; a masked one recognises nobody."""
    digits = digits_of(number)
    return (Alias(kind=AliasKind.PHONE, value=digits),) if digits else ()


def variables_of(outbound: Outbound, settings: TruoraSettings) -> tuple[str, ...] | None:
    """The names of an outbound's variables in order: configured, else read from ``{{.name}}``; None: not told."""
    configured = settings.variables.get(outbound.outbound_id)
    if configured is not None:
        return configured
    if not settings.read_variables or not outbound.outbound_message:
        return None
    return tuple(dict.fromkeys(_VARIABLE.findall(outbound.outbound_message)))


def template_reading(outbound: Outbound, flow: FlowRef | None, settings: TruoraSettings) -> TemplateReading:
    """An outbound as Truora reports it, for a step with this flow."""
    variables = variables_of(outbound, settings)
    named = (flow.id if flow else "") or outbound.default_flow_id
    return TemplateReading(
        template_status=settings.status_words.get(outbound.outbound_status.strip().lower(), TemplateStatus.UNKNOWN),
        raw_status=outbound.outbound_status[:60],
        provider_id=outbound.outbound_id,
        reason=mask_numbers(" ".join(outbound.failure_reason.split()))[:200],
        variables=None if variables is None else len(variables),
        flow_missing=not outbound.is_notification and not named,
    )


def misfits(
    template: TemplateRef, flow: FlowRef | None, outbound: Outbound, senders: frozenset[str], settings: TruoraSettings
) -> list[str]:
    """Why a send by the plan would be refused, or would do something else, although the outbound is approved."""
    wrong = _flow_misfits(flow, outbound)
    needed = variables_of(outbound, settings)
    if needed is not None:
        given = template.variables
        wrong += [
            f"var.{name}: the outbound needs it, the plan does not give it" for name in needed if name not in given
        ]
        wrong += [
            f"var.{name}: the plan gives it, the outbound has no such variable" for name in given if name not in needed
        ]
    number = digits_of(outbound.waba_phone_number)
    if settings.check_sender and senders and number and number not in senders:
        wrong.append("waba_phone_number: the outbound leaves from a number that no line of the account has as sender")
    return wrong


def _flow_misfits(flow: FlowRef | None, outbound: Outbound) -> list[str]:
    if outbound.is_notification and flow is not None:
        return [
            "is_notification: the outbound starts no flow, and the plan waits for one: use an outbound of type Flow"
        ]
    if not outbound.is_notification and flow is None and outbound.default_flow_id:
        return [
            "flow_id: the outbound starts its flow, and the step has none: give the step a flow, or use a notification"
        ]
    return []


def member(found: dict[str, JsonValue], names: tuple[str, ...]) -> str:
    """The first of the named members that says something, as text."""
    return next((text for text in (id_in(found.get(name)) for name in names) if text), "")


def ties_in(found: dict[str, JsonValue], members: EventMembers) -> Ties:
    """Everything in an event's object that can name a send."""
    account_id = member(found, members.account_id)
    return Ties(
        reference=account_id if _OUR_REFERENCE.fullmatch(account_id) else "",
        run_id=member(found, members.process_id),
        session_id=member(found, members.session_id),
        flow_id=member(found, members.flow_id),
        template_id=member(found, members.outbound_id),
    )


def answers_in(found: dict[str, JsonValue], members: EventMembers) -> dict[str, JsonValue]:
    """What the flow collected, without references of ours."""
    told = next((value for value in (found.get(name) for name in members.answers) if isinstance(value, dict)), {})
    return {
        name: value
        for name, value in told.items()
        if not (isinstance(value, str) and (name in members.account_id or _OUR_REFERENCE.fullmatch(value)))
    }


def process_run(process_id: str, result: ProcessResult) -> FlowRun:
    """A process as Truora reports it. Answers are not told there (A-T12)."""
    return FlowRun(
        run_id=process_id,
        flow_run_status=_PROCESS_STATUS.get(result.status.strip().lower(), FlowRunStatus.UNKNOWN),
        raw_status=result.status[:60],
        flow_id=result.flow_id,
        created_at=as_instant(result.creation_date),
    )
