"""Meta's words and ours. Unknown words stay as they are and never count as success."""

from collections.abc import Iterable
from datetime import UTC, datetime

from domain.contacts import Alias, AliasKind
from domain.events import MessageStatus
from domain.plans import FlowRef, TemplateRef
from domain.sends import TemplateReading, TemplateStatus
from providers.meta.rules import VARIABLE
from providers.meta.schemas import Button, Component, SendAnswer, Template, TemplateChange
from providers.wire import plain_word

HELD = frozenset({"held_for_quality_assessment", "paused"})
"""``message_status`` of a message that was taken and is kept back: neither sent nor failed."""

_MESSAGE_STATUS = {
    "accepted": MessageStatus.ACCEPTED,
    "sent": MessageStatus.SENT,
    "delivered": MessageStatus.DELIVERED,
    "read": MessageStatus.READ,
    "played": MessageStatus.READ,  # a voice message was listened to
    "failed": MessageStatus.FAILED,
}

_TEMPLATE_STATUS = {
    status.value: status for status in TemplateStatus if status not in (TemplateStatus.MISSING, TemplateStatus.UNKNOWN)
}

_GONE = (TemplateStatus.DELETED, TemplateStatus.PENDING_DELETION)

_TAKES_NOTHING = frozenset({"FLOW", "QUICK_REPLY", "PHONE_NUMBER", "VOICE_CALL", "URL"})
"""Buttons that a message need not fill; a URL does when it holds a variable."""


def message_status(word: str) -> MessageStatus:
    """How far a message got, by Meta's word."""
    return _MESSAGE_STATUS.get(word.strip().lower(), MessageStatus.UNKNOWN)


def template_status(word: str) -> TemplateStatus:
    """Where a template stands, by Meta's word."""
    return _TEMPLATE_STATUS.get(word.strip().upper(), TemplateStatus.UNKNOWN)


def person(account: str, numbers: Iterable[str], user_ids: Iterable[str]) -> tuple[Alias, ...]:
    """A person by WhatsApp ids and by ids that Meta gives the business; the phone number may be hidden."""
    digits = dict.fromkeys(number.removeprefix("+") for number in numbers)
    return (
        *(Alias(kind=AliasKind.WA_ID, value=number) for number in digits if number.isascii() and number.isdigit()),
        *(Alias(kind=AliasKind.BSUID, value=user, scope=account) for user in dict.fromkeys(user_ids) if user),
    )


def aliases_in(account: str, answer: SendAnswer) -> tuple[Alias, ...]:
    """Other ids of the one person whom a message went to; several contacts would be several people."""
    if len(answer.contacts) != 1:
        return ()
    contact = answer.contacts[0]
    return person(account, [contact.wa_id], [contact.user_id])


def instant_of(timestamp: str) -> datetime | None:
    """Seconds since 1970, as Meta writes them in text and in numbers; None for anything else."""
    try:
        return datetime.fromtimestamp(int(timestamp), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def template_event(field: str, change: TemplateChange) -> str:
    """What happened to a template, by the webhook's field; empty where it does not say."""
    match field:
        case "message_template_quality_update":
            return f"QUALITY_{change.new_quality_score.upper()}" if change.new_quality_score else ""
        case "template_category_update":
            return f"CATEGORY_{change.new_category.upper()}" if change.new_category else ""
        case "message_template_components_update":
            return "COMPONENTS_UPDATED"
    return change.event.strip()


def template_reason(change: TemplateChange) -> str:
    """Why, in one word of Meta's: the reason of a rejection, or the title of a pause."""
    reasons = (change.reason.strip(), change.other_info.title.strip())
    return next((plain_word(reason) for reason in reasons if reason and reason.upper() != "NONE"), "")


def template_detail(change: TemplateChange) -> str:
    """Why, in Meta's sentences."""
    parts = (
        change.rejection_info.reason,
        change.rejection_info.recommendation,
        change.other_info.description,
        f"disabled on {change.disable_info.disable_date}" if change.disable_info.disable_date else "",
    )
    return " ".join(part.strip() for part in parts if part.strip())[:500]


def template_reading(template: Template) -> TemplateReading:
    """A template as Meta reports it."""
    body = _body_of(template.components)
    reason = template.rejected_reason.strip()
    return TemplateReading(
        template_status=template_status(template.status),
        raw_status=template.status[:60],
        provider_id=template.id,
        category=template.category[:60],
        reason="" if reason.upper() == "NONE" else plain_word(reason),
        variables=len(set(VARIABLE.findall(body))) if body is not None else None,
    )


def the_one(templates: Iterable[Template], name: str, language: str) -> Template | None:
    """The template of exactly this name and language (A-M2); one that is going away only when there is no other."""
    exact = [t for t in templates if (t.name, t.language) == (name, language)]
    exact.sort(key=lambda t: template_status(t.status) in _GONE)
    return exact[0] if exact else None


def misfits(template: TemplateRef, flow: FlowRef | None, found: Template) -> list[str]:
    """Why a send by the plan would be refused by this template, member by member. Counts are told by the reading."""
    if not found.components:
        return []
    buttons = [button for part in found.components for button in part.buttons]
    return [*_misfits_of_flow(flow, buttons), *_misfits_of_names(template, found), *_unfilled(found, buttons)]


def _misfits_of_flow(flow: FlowRef | None, buttons: list[Button]) -> list[str]:
    places = [n for n, button in enumerate(buttons) if button.type.upper() == "FLOW"]
    if flow is None:
        return ["flow: the template has a FLOW button and the plan's step names no flow"] if places else []
    if not places:
        return ["flow: the template has no FLOW button"]
    if flow.button not in places:
        return [f"flow.button: the FLOW button is at position {places[0]}"]
    button = buttons[flow.button]
    found = []
    if flow.id and button.flow_id and flow.id != button.flow_id:
        found.append("flow.id: the template's button opens another Flow")
    if flow.screen and button.navigate_screen and flow.screen != button.navigate_screen:
        found.append("flow.screen: the template's button opens another screen")
    return found


def _misfits_of_names(template: TemplateRef, found: Template) -> list[str]:
    used = set(VARIABLE.findall(_body_of(found.components) or ""))
    if not used:
        return []
    if template.named == all(name.isdigit() for name in used):
        return [f"template.named: the template's variables have {'numbers' if template.named else 'names'}"]
    if template.named and len(used) == len(template.variables) and used != set(template.variables):
        return ["template.variables: the names differ from those of the template"]
    return []


def _unfilled(found: Template, buttons: list[Button]) -> list[str]:
    headers = [part for part in found.components if part.type.upper() == "HEADER"]
    media = [p for p in headers if p.format.upper() not in ("", "TEXT") or VARIABLE.search(p.text)]
    taking = [b for b in buttons if b.type.upper() not in _TAKES_NOTHING or VARIABLE.search(b.url)]
    return [
        *(["template header: takes media or a variable, which we do not send"] if media else []),
        *([f"template button {plain_word(b.type)}: takes a value, which we do not send" for b in taking[:1]]),
    ]


def _body_of(components: Iterable[Component]) -> str | None:
    return next((part.text for part in components if part.type.upper() == "BODY"), None)
