"""POST /{phone-number-id}/messages: what Meta takes, and what it refuses with which code."""

from dataclasses import dataclass

from pydantic import JsonValue

from sandbox.meta import filling
from sandbox.meta.book import Conversation, Flow, Message, Template
from sandbox.meta.desk import Asked, Consequence, Desk, Taken
from sandbox.meta.errors import INVALID, MISSING, GraphResponse, Mistake, refuse, refuse_all, unknown_object
from sandbox.meta.life import UNDELIVERABLE
from sandbox.meta.limits import count, refuse_too_fast, throttled_flow_is_spent
from sandbox.meta.settings import UNUSED_TOKEN, Moment
from sandbox.meta.wire import (
    OF_MESSAGES,
    Envelope,
    FlowParameters,
    InteractiveContent,
    TemplateContent,
    TextContent,
    read,
)
from sandbox.personas import Persona
from sandbox.values import JsonObject

_PARAMETERS = "/interactive/action/parameters"


@dataclass(frozen=True)
class Content:
    """What a message says, after it was judged."""

    text: str
    category: str
    template: Template | None = None
    flow: Flow | None = None
    flow_token: str = UNUSED_TOKEN
    quick_replies: tuple[tuple[str, str], ...] = ()

    @property
    def needs_window(self) -> bool:
        """Whether it goes out only after the user wrote."""
        return self.template is None


def send(desk: Desk, asked: Asked) -> Taken:
    """Take a message: accepted, which is not sent."""
    if asked.object_id not in desk.book.lines:
        raise unknown_object()
    line = desk.book.lines[asked.object_id]
    envelope = asked.read(Envelope, OF_MESSAGES, desk)
    written = _content_of(envelope)
    conversation = desk.book.conversation(line, envelope.to)
    refuse_too_fast(desk.book, line, conversation, desk.now())
    content = _content(desk, envelope.type, written)
    _judge_flow(desk, content.flow)
    if envelope.to == line.display_number:
        raise refuse(131021, "to-oneself", "the recipient is the sender", "/to")
    failure = _judge_recipient(desk, conversation, content)
    count(desk.book, line, conversation, content.flow, desk.now())
    message = desk.book.add_message(
        Message(
            id=desk.book.wamid(conversation),
            conversation=conversation,
            kind=envelope.type,
            text=content.text,
            reference=envelope.biz_opaque_callback_data,
            category=content.category,
            at=desk.now(),
            template=content.template,
            flow=content.flow,
            flow_token=content.flow_token,
            quick_replies=content.quick_replies,
            failure=failure,
        )
    )
    return Taken(_answer(desk, message, envelope.to), _then(desk, message))


def _content_of(envelope: Envelope) -> JsonObject:
    """The member that the type names; any other kind of content beside it is a mistake."""
    kinds = {"template": envelope.template, "interactive": envelope.interactive, "text": envelope.text}
    written = kinds.pop(envelope.type)
    refuse_all(
        [
            Mistake(INVALID, "content-type", f"{kind} beside type {envelope.type}", f"/{kind}")
            for kind, other in kinds.items()
            if other is not None
        ]
    )
    if written is None:
        raise refuse(MISSING, "missing-member", f"{envelope.type} is required", f"/{envelope.type}")
    return written


def _content(desk: Desk, kind: str, written: JsonObject) -> Content:
    strict = desk.account.strict
    match kind:
        case "template":
            choice = read(TemplateContent, written, OF_MESSAGES, strict=strict, at="/template")
            return _template(desk, choice)
        case "interactive":
            if "type" in written and written["type"] != "flow":
                raise refuse(INVALID, "interactive-type", "interactive.type must be flow", "/interactive/type")
            message = read(InteractiveContent, written, OF_MESSAGES, strict=strict, at="/interactive")
            flow = _interactive_flow(desk, message.action.parameters)
            parts = (message.header, message.body, message.footer)
            text = "\n".join(part.text for part in parts if part is not None)
            return Content(text, "service", flow=flow, flow_token=message.action.parameters.flow_token)
        case _:
            return Content(read(TextContent, written, OF_MESSAGES, strict=strict, at="/text").body, "service")


def _template(desk: Desk, choice: TemplateContent) -> Content:
    template = desk.book.template_named(choice.name, choice.language.code)
    if template is None:
        detail = f"template name ({choice.name}) does not exist in {choice.language.code}"
        raise refuse(132001, "unknown-template", detail, "/template")
    match template.status:
        case "APPROVED":
            pass
        case "PAUSED":
            raise refuse(132015, "template-paused", "Template is paused due to low quality", "/template")
        case "DISABLED":
            raise refuse(132016, "template-disabled", "Template is disabled due to low quality", "/template")
        case status:
            raise refuse(132001, "template-not-approved", f"the template is {status}", "/template")
    filled = filling.fill(template, choice.components, strict=desk.account.strict)
    refuse_all(filled.mistakes)
    return Content(
        text=template.filled(filled.values),
        category=template.category,
        template=template,
        flow=desk.book.flow_of(template),
        flow_token=filled.flow_token,
        quick_replies=tuple(filled.quick_replies),
    )


def _interactive_flow(desk: Desk, parameters: FlowParameters) -> Flow:
    mistakes = []

    def wrong(rule: str, detail: str, member: str) -> None:
        mistakes.append(Mistake(INVALID, rule, detail, f"{_PARAMETERS}{member}"))

    if (parameters.flow_id is None) == (parameters.flow_name is None):
        raise refuse(INVALID, "flow-source", "exactly one of flow_id and flow_name", _PARAMETERS)
    by_id = parameters.flow_id is not None
    found = desk.book.flows.get(parameters.flow_id or "")
    flow = found if by_id else desk.book.flow_named(parameters.flow_name or "")
    if flow is None:
        where = f"{_PARAMETERS}/{'flow_id' if by_id else 'flow_name'}"
        raise refuse(INVALID, "unknown-flow", "no Flow of this id or name", where)
    if parameters.mode == "published" and flow.status == "DRAFT":
        wrong("flow-not-published", "the Flow was never published", "/mode")
    payload = parameters.flow_action_payload
    if parameters.flow_action == "data_exchange":
        if payload is not None:
            wrong("payload", "flow_action_payload goes only with navigate", "/flow_action_payload")
        if not flow.of.endpoint:
            wrong("data-exchange", "the Flow has no endpoint", "/flow_action")
    elif payload is not None and payload.screen and flow.of.screens and payload.screen not in flow.of.screens:
        wrong("unknown-screen", "the Flow has no screen of this id", "/flow_action_payload/screen")
    refuse_all(mistakes)
    return flow


def _judge_flow(desk: Desk, flow: Flow | None) -> None:
    if flow is None:
        return
    if flow.status in ("BLOCKED", "DEPRECATED"):
        raise refuse(132068, "flow-blocked", f"the Flow is {flow.status}", None)
    if throttled_flow_is_spent(flow, desk.now()):
        raise refuse(132069, "flow-throttled", "a throttled Flow goes out ten times an hour", None)


def _judge_recipient(desk: Desk, conversation: Conversation, content: Content) -> tuple[int, str] | None:
    """What is wrong with sending this to this person: refused at once, or the failure that comes later."""
    account, marketing = desk.account, content.category == "MARKETING"
    unreachable = desk.life.person(conversation.number).persona is Persona.UNREACHABLE
    window_shut = content.needs_window and not conversation.window_is_open(desk.now())
    reasons: tuple[tuple[bool, Moment, tuple[int, str]], ...] = (
        (unreachable, account.undeliverable, UNDELIVERABLE),
        (
            window_shut,
            account.window_closed,
            (131047, "Message failed to send because more than 24 hours have passed since the customer last replied."),
        ),
        (
            marketing and conversation.wa_id in desk.book.stopped,
            account.marketing_stopped,
            (131050, "The recipient has chosen to stop receiving marketing messages on WhatsApp."),
        ),
    )
    failure = None
    for applies, moment, (code, detail) in reasons:
        if applies and moment == "at-once":
            raise refuse(code, f"recipient-{code}", detail, "/to")
        if applies and failure is None:
            failure = (code, detail)
    return failure


def _answer(desk: Desk, message: Message, number: str) -> GraphResponse:
    wa_id = message.conversation.wa_id
    if desk.account.answer_style == "on-premises":
        seed: JsonObject = {
            "contacts": [{"Input": f"+{number}", "wa_id": wa_id}],
            "messages": [{"id": message.id}],
            "meta": {"api_status": "stable", "version": "2.44.0.27"},
        }
        return GraphResponse(seed)
    told: JsonObject = {"id": message.id}
    held = message.template.held_as if message.template is not None else None
    if held or desk.account.message_status:
        told["message_status"] = held or desk.account.message_status
    contacts: JsonValue = [{"input": number, "wa_id": wa_id}]
    return GraphResponse({"messaging_product": "whatsapp", "contacts": contacts, "messages": [told]})


def _then(desk: Desk, message: Message) -> list[Consequence]:
    template, conversation = message.template, message.conversation
    if template is not None and template.held_as is not None:
        template.held.append(message)
        return []
    tells = ("statuses:failed",) if message.failure else ("statuses:sent",)
    return [
        Consequence(
            desk.account.send_delay, lambda: desk.life.dispatch(message), conversation.lane, conversation, tells
        )
    ]
