"""What Recrubo's refusals mean. Classes follow the HTTP status (A-R3); codes and field names are kept for people.

Only what the documentation gives or JSON:API calls static goes into a text: the code, the plain words of the title and
the pointer to the member. ``detail`` may repeat what we sent, so it never does.
"""

import re

from domain.events import MessageStatusChanged
from domain.model import JsonValue
from providers.endings import Answer, Verdict, with_facts
from providers.plain_words import plain_words
from providers.recrubo.schemas import ErrorBody, ErrorItem, RelayedMetaError
from providers.wire import as_object, plain_code

TEMPLATE_EXISTS = "100/2388024"
"""Relayed from Meta by template creation: that name exists in that language already."""

MARKETING_STOPPED = "131050"
"""Meta: the user asked for no more marketing messages."""

WINDOW_CLOSED = "131047"
"""Meta: more than 24 hours have passed since the person last wrote, so only a template may leave."""

RECIPIENT_CODES = frozenset({"131026", "130472", "130497", "131030", "137000", "131049", MARKETING_STOPPED})
"""Meta's codes that concern the recipient and nobody else. Meta: Error codes; classes are ours (A-M4)."""

_META_CODE = re.compile(r"\(#(\d{1,7})\)|\b(13\d{4})\b")
_MOST_CODES = 5


def refine(answer: Answer, verdict: Verdict) -> Verdict:
    """Add Recrubo's code, title and pointer to a verdict by status."""
    item = first_error(answer)
    if item is None:
        return verdict
    facts = "; ".join(
        part for part in (plain_words(item.title), _field(item.source.pointer), item.relayed.name) if part
    )
    return with_facts(verdict, code=item.relayed.name or item.code, facts=facts)


def first_error(answer: Answer) -> ErrorItem | None:
    """The first error of an answer, where it has one."""
    errors = ErrorBody.model_validate(as_object(answer.json())).errors
    return errors[0] if errors else None


def _field(pointer: str) -> str:
    return pointer if re.fullmatch(r"[A-Za-z0-9_./-]{1,120}", pointer) else ""


def delivery_codes(messages: tuple[JsonValue, ...]) -> tuple[str, ...]:
    """The ``errorMessages`` of a message as codes: Meta's number where one is told, else its plain words."""
    return tuple(code for code in map(_delivery_code, messages[:_MOST_CODES]) if code)


def _delivery_code(message: JsonValue) -> str:
    if isinstance(message, dict):
        relayed = RelayedMetaError.model_validate(message)
        message = relayed.code or next((v for v in (message.get("message"), message.get("title")) if v), "")
    text = message if isinstance(message, str) else ""
    found = _META_CODE.search(text)
    if found:
        return found.group(1) or found.group(2)
    return plain_code(text) if text.isdigit() else plain_words(text)


def is_recipient_fault(codes: tuple[str, ...]) -> bool:
    """Whether a failed delivery is the recipient's: yes unless a code of Meta's says otherwise."""
    numbers = [code for code in codes if code.isdigit()]
    return not numbers or any(code in RECIPIENT_CODES for code in numbers)


def is_window_closed(codes: tuple[str, ...]) -> bool:
    """Whether a text that failed did so because the 24 hours are over: by Meta's code, or where no code is told.

    Recrubo takes a text outside the window too, and lets it fail. Recrubo: messages.
    """
    numbers = [code for code in codes if code.isdigit()]
    return not numbers or WINDOW_CLOSED in numbers


def stops_marketing(body: MessageStatusChanged) -> bool:
    """Whether a failed delivery tells that the candidate stopped marketing."""
    return MARKETING_STOPPED in body.codes
