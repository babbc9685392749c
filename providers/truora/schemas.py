"""Truora's JSON with Truora's names, read tolerantly. Private to this folder.

Sources: *Start Conversations via API* (outbounds, answer of a send), the hook description (envelope of events). Every
member has a default, so reading never fails; the text ``undefined`` is as good as absent.
"""

from typing import Annotated

from pydantic import BeforeValidator

from domain.model import JsonValue, Model
from providers.wire import Object, Truth, as_id, as_object, as_objects, as_text

_ABSENT = "undefined"


def _told(value: object) -> object:
    return "" if value == _ABSENT else as_text(value)


def id_in(value: object) -> str:
    """An opaque id, empty when there is none."""
    found = as_id(value)
    return found if isinstance(found, str) and found != _ABSENT else ""


Told = Annotated[str, BeforeValidator(_told)]
ToldId = Annotated[str, BeforeValidator(id_in)]


class OutboundAnswer(Model):
    """A button of an outbound. ``action`` is ``continue_process``, ``cancel_process`` or a word unknown to us."""

    message: Told = ""
    action: Told = ""


class Outbound(Model):
    """An outbound message. Its number is written with a plus; ``is_notification`` false starts a flow on acceptance."""

    client_id: ToldId = ""
    outbound_id: ToldId = ""
    default_flow_id: ToldId = ""
    outbound_name: Told = ""
    outbound_status: Told = ""
    failure_reason: Told = ""
    is_notification: Truth = False
    outbound_message: Told = ""
    outbound_answers: Annotated[tuple[OutboundAnswer, ...], BeforeValidator(as_objects)] = ()
    waba_phone_number: Told = ""
    media_url: Told = ""
    outbound_type: Told = ""
    media_id: ToldId = ""


class SendAnswer(Model):
    """The answer to a send. ``outbound_message`` is an object here, and a text inside that object."""

    user_phone_number: Told = ""
    message: Told = ""
    session_id: ToldId = ""
    outbound_message: Annotated[Outbound, BeforeValidator(as_object)] = Outbound()
    flow_id: ToldId = ""


class ErrorBody(Model):
    """The body of a refusal. ``http_code`` may be missing, and the body may be no JSON at all."""

    code: Told = ""
    http_code: Told = ""
    message: Told = ""


class ProcessResult(Model):
    """How a process stands (A-T12)."""

    process_id: ToldId = ""
    flow_id: ToldId = ""
    status: Told = ""
    creation_date: Told = ""


class Envelope(Model):
    """The payload of a delivery. ``events`` is kept as it came: only a list can be read."""

    iss: Told = ""
    iat: Told = ""
    events: JsonValue = None


class HookEvent(Model):
    """One event of a delivery. The members of ``object`` are assumed, so they are read by configured names (A-T3)."""

    id: ToldId = ""
    event_type: Told = ""
    event_action: Told = ""
    object: Object = {}
    timestamp: Told = ""
    version: Told = ""
