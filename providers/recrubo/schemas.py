"""Recrubo's JSON with Recrubo's names, read tolerantly. Private to this folder.

Sources: *Triggering flows* (flow runs, threads), the API reference (templates, messages, webhook payloads).
"""

from typing import Annotated

from pydantic import BeforeValidator

from domain.model import JsonValue
from providers.wire import Id, Items, Object, Text, Truth, Wire, as_object, as_objects


class Resource(Wire):
    """One JSON:API resource. Its id is opaque and no UUID; empty when it has none."""

    id: Id = ""
    type: Text = ""
    attributes: Object = {}


class TemplateUse(Wire):
    """A template inside a message."""

    id: Id = ""


class InitialMessage(Wire):
    """What a flow run begins with."""

    type: Text = ""
    template: Annotated[TemplateUse, BeforeValidator(as_object)] = TemplateUse()


class RunAttributes(Wire):
    """A flow run."""

    created_at: Text = ""
    updated_at: Text = ""
    flow_id: Id = ""
    message_thread_id: Id = ""
    state: Object = {}
    initial_message: Annotated[InitialMessage, BeforeValidator(as_object)] = InitialMessage()
    status: Text = ""
    cost: Text = ""


class ThreadAttributes(Wire):
    """A message thread. While ``chatbot_paused`` no flow starts or continues."""

    created_at: Text = ""
    channel: Text = ""
    identifier: Text = ""
    chatbot_paused: Truth = False


class Component(Wire):
    """A part of a template: HEADER, BODY or FOOTER."""

    type: Text = ""
    text: Text = ""


class TemplateAttributes(Wire):
    """A message template."""

    created_at: Text = ""
    updated_at: Text = ""
    name: Text = ""
    language: Text = ""
    category: Text = ""
    status: Text = ""
    components: Annotated[tuple[Component, ...], BeforeValidator(as_objects)] = ()


class TextContent(Wire):
    """The text of a message."""

    value: Text = ""


class MessagePayload(Wire):
    """What a message holds."""

    type: Text = ""
    text: Annotated[TextContent, BeforeValidator(as_object)] = TextContent()


class MessageAttributes(Wire):
    """A message in a thread, ours or the candidate's."""

    created_at: Text = ""
    updated_at: Text = ""
    origin: Text = ""
    message_thread_id: Id = ""
    payload: Annotated[MessagePayload, BeforeValidator(as_object)] = MessagePayload()
    delivery_status: Text = ""
    error_messages: Items = ()


class Notification(Wire):
    """The attributes of a webhook payload: what happened, and the resource as it is after that."""

    event: Text = ""
    resource: JsonValue = None


class ErrorSource(Wire):
    """Which member of our request an error is about."""

    pointer: Text = ""


class RelayedMetaError(Wire):
    """Meta's own error, handed through as ``detail`` of an error."""

    code: Text = ""
    error_subcode: Text = ""

    @property
    def name(self) -> str:
        """``code/subcode``, or the code alone; empty when there is none."""
        return "/".join(part for part in (self.code, self.error_subcode) if part)


class ErrorItem(Wire):
    """One error of an answer. ``status`` comes as number or text, ``detail`` as text or object."""

    code: Text = ""
    title: Text = ""
    source: Annotated[ErrorSource, BeforeValidator(as_object)] = ErrorSource()
    detail: JsonValue = None

    @property
    def relayed(self) -> RelayedMetaError:
        """Meta's error behind this one; an empty one when there is none."""
        return RelayedMetaError.model_validate(as_object(self.detail))


class ErrorBody(Wire):
    """The body of an error answer; possibly no JSON at all, then without errors."""

    errors: Annotated[tuple[ErrorItem, ...], BeforeValidator(as_objects)] = ()
