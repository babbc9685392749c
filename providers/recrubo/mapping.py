"""Recrubo's words and ours. Unknown words stay as they are and never count as success."""

import re
from datetime import UTC, datetime

from domain.contacts import Alias, AliasKind
from domain.events import FlowRunStatus
from domain.model import E164, JsonValue
from domain.sends import FlowRun, FlowRunSearch, MessageThread, Send, TemplateReading, TemplateStatus
from providers.recrubo.schemas import Component, Resource, RunAttributes, TemplateAttributes, ThreadAttributes
from providers.recrubo.settings import RecruboSettings
from providers.wire import as_instant

CHANNEL = "whatsapp"

_RUN_STATUS = {
    "created": FlowRunStatus.ACCEPTED,  # the guide's sample; its prose and the reference say queued
    "queued": FlowRunStatus.ACCEPTED,
    "running": FlowRunStatus.RUNNING,
    "finished": FlowRunStatus.FINISHED,
    "timeout": FlowRunStatus.TIMED_OUT,
    "exception": FlowRunStatus.FAILED,
    "cancelled": FlowRunStatus.CANCELLED,
}

_VARIABLE = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def identifier_of(address: E164) -> str:
    """A number as Recrubo wants it: digits with country code, no plus."""
    return address.removeprefix("+")


def thread_alias(account: str, thread_id: str) -> tuple[Alias, ...]:
    """A thread recognises a person within its account; nobody, when there is none."""
    return (Alias(kind=AliasKind.THREAD, value=thread_id, scope=account),) if thread_id else ()


def run_status(word: str) -> FlowRunStatus:
    """Where a run stands, by Recrubo's word."""
    return _RUN_STATUS.get(word.strip().lower(), FlowRunStatus.UNKNOWN)


def reference_in(state: dict[str, JsonValue], settings: RecruboSettings) -> str:
    """Our reference out of a run's session variables; empty when it holds none."""
    value = state.get(settings.reference_variable)
    return value if isinstance(value, str) else ""


def answers_in(state: dict[str, JsonValue], settings: RecruboSettings) -> dict[str, JsonValue]:
    """What a run collected: its session variables without ours."""
    return {name: value for name, value in state.items() if name != settings.reference_variable}


def flow_run(run_id: str, attributes: RunAttributes, settings: RecruboSettings) -> FlowRun:
    """A run as Recrubo reports it."""
    return FlowRun(
        run_id=run_id,
        flow_run_status=run_status(attributes.status),
        raw_status=attributes.status[:60],
        reference=reference_in(attributes.state, settings),
        flow_id=attributes.flow_id,
        template_id=attributes.initial_message.template.id,
        thread_id=attributes.message_thread_id,
        created_at=as_instant(attributes.created_at),
        answers=answers_in(attributes.state, settings),
        cost=attributes.cost,
    )


def runs_that_fit(runs: list[FlowRun], search: FlowRunSearch) -> list[FlowRun]:
    """Those that may be the run searched for: all with our reference, else all that nothing speaks against.

    What a run does not tell does not exclude it: one too many asks a person, one too few would send twice.
    """
    here = [run for run in runs if run.thread_id in ("", search.thread_id)]
    exact = [run for run in here if search.reference and run.reference == search.reference]
    return exact or [run for run in here if _may_be(run, search)]


def _may_be(run: FlowRun, search: FlowRunSearch) -> bool:
    if run.run_id in search.owned or run.reference:  # a reference that is not ours belongs to another send
        return False
    if run.created_at is not None and run.created_at < search.not_before:
        return False
    pairs = ((run.flow_id, search.flow_id), (run.template_id, search.template_id))
    return all(theirs == ours or not (theirs and ours) for theirs, ours in pairs)


def thread_of(found: list[Resource], identifier: str) -> MessageThread | None:
    """The thread with this identifier; the oldest, should there be several."""
    read = [(ThreadAttributes.model_validate(r.attributes), r.id) for r in found]
    fitting = [
        (as_instant(thread.created_at) or datetime.max.replace(tzinfo=UTC), thread_id, thread.chatbot_paused)
        for thread, thread_id in read
        if thread.channel.lower() == CHANNEL and thread.identifier.removeprefix("+") == identifier
    ]
    return MessageThread(thread_id=min(fitting)[1], chatbot_paused=min(fitting)[2]) if fitting else None


def category_of(word: str) -> str:
    """A template's category by Meta's word, whichever way Recrubo spells it."""
    category = word.strip().upper()[:60]
    return "AUTHENTICATION" if category == "AUTHORIZATION" else category


def template_reading(template_id: str, attributes: TemplateAttributes, settings: RecruboSettings) -> TemplateReading:
    """A template as Recrubo reports it."""
    return TemplateReading(
        template_status=settings.template_words.get(attributes.status.strip().lower(), TemplateStatus.UNKNOWN),
        raw_status=attributes.status[:60],
        provider_id=template_id,
        category=category_of(attributes.category),
        variables=_variables(attributes.components),
    )


def _variables(components: tuple[Component, ...]) -> int | None:
    bodies = [part.text for part in components if part.type.upper() == "BODY"]
    return len(set(_VARIABLE.findall(bodies[0]))) if bodies else None


def missing_in(send: Send) -> list[str]:
    """The members without which Recrubo would refuse a message, or take it and do something else.

    ``{}`` as initial message means none to Recrubo: the candidate would enter the flow with whatever they write next.
    """
    missing = [] if send.thread_id else ["messageThreadId: the thread is not open"]
    if send.flow is not None and not send.flow.id:
        missing.append("flowId: the plan names no flow id")
    if not send.template.id:
        missing.append("initialMessage.template.id: the plan names no template id")
    missing += [
        f"initialMessage.template.components parameter {n} ({name}): has no value"
        for n, (name, value) in enumerate(send.parameters, start=1)
        if not value.strip()
    ]
    return missing


def template_message(send: Send) -> dict[str, JsonValue]:
    """The template of a send as a message: one text parameter for each variable, in order."""
    parameters: list[JsonValue] = [{"type": "text", "text": value} for _, value in send.parameters]
    components: list[JsonValue] = [{"type": "body", "parameters": parameters}] if parameters else []
    return {"type": "template", "template": {"id": send.template.id, "components": components}}


def missing_in_text(send: Send) -> list[str]:
    """The members without which Recrubo would refuse a text."""
    missing = [] if send.thread_id else ["messageThreadId: the thread is not open"]
    if send.flow is not None:
        missing.append("flowId: a flow starts by a template alone")
    if send.free_form is None or not send.free_form.text.strip():
        missing.append("payload.text.value: is empty")
    return missing


def text_message(send: Send) -> dict[str, JsonValue]:
    """The free text of a send as a message."""
    return {"type": "text", "text": {"value": send.free_form.text if send.free_form else ""}}
