"""What a person wrote, tapped or chose: one element of a delivery becomes one event in our words."""

import json

from domain.events import EventBody, FormAnswered, NotUnderstood, OptInReceived, OptOutReceived, TextReceived
from domain.model import JsonValue
from domain.stop_words import StopWords
from providers.meta.errors import codes_of
from providers.meta.rules import UNUSED_TOKEN
from providers.meta.schemas import FormReply, Inbound, Person, Preference
from providers.wire import Read, plain_word, read_json

FLOW_TOKEN = "flow_token"  # noqa: S105 - the name of a member, not a secret


def body_of(message: Inbound, words: StopWords) -> tuple[EventBody, str]:
    """What a message means, and the flow token that it carries, empty for none."""
    match message.type:
        case "text":
            return _said(message.text.body, "", words), ""
        case "button":
            return _said(message.button.text, message.button.payload, words), ""
        case "interactive":
            return _interactive(message, words)
    told = " ".join((*([plain_word(message.system.type)] if message.system.type else []), *codes_of(message.errors)))
    return NotUnderstood(what=f"messages/{plain_word(message.type)} {told}".strip()), ""


def preference_of(preference: Preference) -> EventBody | None:
    """What a person chose about marketing; None for a word that we do not know.

    A stop counts whatever it is called after, because stopping too much harms nobody.
    """
    match preference.value.strip().lower():
        case "stop":
            return OptOutReceived(scope="marketing")
        case "resume" if preference.category in ("", "marketing_messages"):
            return OptInReceived(scope="marketing")
    return None


def writer_of(message: Inbound, contacts: tuple[Person, ...]) -> Person:
    """Who wrote, as the message itself and its contact tell."""
    own = Person(wa_id=message.sender, user_id=message.user_id, parent_user_id=message.parent_user_id)
    return completed(own, contacts)


def chooser_of(preference: Preference, contacts: tuple[Person, ...]) -> Person:
    """Who chose, as the preference itself and its contact tell; a hidden number leaves only the contact's user id."""
    own = Person(wa_id=preference.wa_id, user_id=preference.user_id, parent_user_id=preference.parent_user_id)
    return completed(own, contacts)


def completed(own: Person, contacts: tuple[Person, ...]) -> Person:
    """A person, completed by the contact of the same number or user id, or by the only contact there is."""
    alone = contacts if len(contacts) == 1 and not (own.wa_id or own.user_id) else ()
    same = [c for c in contacts if (c.wa_id and c.wa_id == own.wa_id) or (c.user_id and c.user_id == own.user_id)]
    known = next(iter((*same, *alone)), Person())
    return Person(
        wa_id=own.wa_id or known.wa_id,
        user_id=own.user_id or known.user_id,
        parent_user_id=own.parent_user_id or known.parent_user_id,
    )


def _interactive(message: Inbound, words: StopWords) -> tuple[EventBody, str]:
    reply = message.interactive
    match reply.type:
        case "nfm_reply":
            return _form(reply.nfm_reply)
        case "button_reply":
            return _said(reply.button_reply.title, reply.button_reply.id, words), ""
        case "list_reply":
            return _said(reply.list_reply.title, reply.list_reply.id, words), ""
    return NotUnderstood(what=f"messages/interactive {plain_word(reply.type)}"), ""


def _said(text: str, payload: str, words: StopWords) -> EventBody:
    if words.is_stop(text) or words.is_stop(payload):
        return OptOutReceived(scope="line", text=text)
    if words.is_start(text) or words.is_start(payload):
        return OptInReceived(scope="line", text=text)
    return TextReceived(text=text, payload=payload)


def _form(reply: FormReply) -> tuple[EventBody, str]:
    """A form's answers, our token taken out. What is no object is an answer all the same: its text is kept."""
    told = reply.response_json
    answers = _object_in(told)
    if answers is None:
        raw = told if isinstance(told, str) else "" if told is None else json.dumps(told)
        return FormAnswered(answers=None, raw=raw), ""
    token = answers.get(FLOW_TOKEN)
    ours = token if isinstance(token, str) and token != UNUSED_TOKEN else ""
    return FormAnswered(answers={name: value for name, value in answers.items() if name != FLOW_TOKEN}), ours


def _object_in(told: JsonValue) -> dict[str, JsonValue] | None:
    if isinstance(told, str):
        read = read_json(told.encode("utf-8", "surrogatepass"))
        told = read.value if isinstance(read, Read) else None
    return told if isinstance(told, dict) else None
