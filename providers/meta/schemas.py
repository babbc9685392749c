"""Meta's JSON with Meta's names, read tolerantly. Private to this folder.

Sources: *Sending a Flow* (answers to sends and creations), the Cloud API reference (lists, errors, webhooks). Ids and
times come as text or as number, members may be absent or null: every member has a default, so reading never fails.
"""

from typing import Annotated, TypeVar

from pydantic import AliasChoices, BeforeValidator, Field

from domain.model import JsonValue, Model
from providers.wire import Id, Items, Text, as_object, as_objects

Kind = TypeVar("Kind")

One = Annotated[Kind, BeforeValidator(as_object)]
Many = Annotated[tuple[Kind, ...], BeforeValidator(as_objects)]


class GraphError(Model):
    """The ``error`` of an answer, or one of the ``errors`` of a webhook. Meta: Error codes."""

    code: Text = ""
    error_subcode: Text = ""
    fbtrace_id: Text = ""

    @property
    def name(self) -> str:
        """``code/subcode``, or the code alone; empty when there is none."""
        return "/".join(part for part in (self.code, self.error_subcode) if part) if self.code else ""


class ErrorBody(Model):
    """The body of an error answer; possibly no JSON at all, then without an error."""

    error: One[GraphError] = GraphError()


class SentContact(Model):
    """Whom a message was taken for. The guide's second sample writes ``Input``; ``wa_id`` may differ from it."""

    input: Annotated[Text, Field(validation_alias=AliasChoices("input", "Input"))] = ""
    wa_id: Id = ""
    user_id: Id = ""


class SentMessage(Model):
    """A message that was taken. ``message_status`` is optional: accepted, held_for_quality_assessment or paused."""

    id: Id = ""
    message_status: Text = ""


class SendAnswer(Model):
    """The answer to ``POST /{phone-number-id}/messages``."""

    contacts: Many[SentContact] = ()
    messages: Many[SentMessage] = ()


class Button(Model):
    """A button of a template. Every type but FLOW is only looked at."""

    type: Text = ""
    url: Text = ""
    flow_id: Id = ""
    navigate_screen: Text = ""


class Component(Model):
    """A part of a template; ``type`` occurs in either case."""

    type: Text = ""
    format: Text = ""
    text: Text = ""
    buttons: Many[Button] = ()


class Template(Model):
    """A template as a list, a read or its creation shows it."""

    id: Id = ""
    name: Text = ""
    language: Text = ""
    status: Text = ""
    category: Text = ""
    rejected_reason: Text = ""
    components: Many[Component] = ()


class Cursors(Model):
    """Where a page of a list ends."""

    after: Text = ""


class Paging(Model):
    """What comes after a page; without ``next`` nothing does."""

    cursors: One[Cursors] = Cursors()
    next: Text = ""


class Entry(Model):
    """One business account's part of a delivery."""

    id: Id = ""
    time: Text = ""
    changes: Items = ()


class Change(Model):
    """One change; what ``value`` is made of depends on ``field``."""

    field: Text = ""
    value: JsonValue = None


class Person(Model):
    """Who wrote. The phone number may be hidden behind ``user_id`` one day."""

    wa_id: Id = ""
    user_id: Id = ""
    parent_user_id: Id = ""


class Metadata(Model):
    """Which of our numbers a change is about."""

    phone_number_id: Id = ""


class MessagesValue(Model):
    """The ``value`` of field ``messages``: messages, statuses or errors."""

    metadata: One[Metadata] = Metadata()
    contacts: Many[Person] = ()
    messages: Items = ()
    statuses: Items = ()
    errors: Items = ()


class Context(Model):
    """What a message answers to."""

    id: Id = ""


class TextContent(Model):
    """A typed text."""

    body: Text = ""


class ButtonContent(Model):
    """A tapped quick reply of a template."""

    payload: Text = ""
    text: Text = ""


class Choice(Model):
    """A tapped button or list row of an interactive message."""

    id: Text = ""
    title: Text = ""


class SystemContent(Model):
    """What WhatsApp says about a person, as that their number changed."""

    type: Text = ""


class FormReply(Model):
    """A WhatsApp Flow that came back; ``response_json`` is JSON inside text."""

    response_json: JsonValue = None


class Interactive(Model):
    """What came back from an interactive message."""

    type: Text = ""
    nfm_reply: One[FormReply] = FormReply()
    button_reply: One[Choice] = Choice()
    list_reply: One[Choice] = Choice()


class Inbound(Model):
    """A message that a person wrote or tapped."""

    id: Id = ""
    sender: Annotated[Id, Field(alias="from")] = ""
    user_id: Annotated[Id, Field(validation_alias=AliasChoices("from_user_id", "user_id"))] = ""
    parent_user_id: Annotated[Id, Field(validation_alias=AliasChoices("from_parent_user_id", "parent_user_id"))] = ""
    timestamp: Text = ""
    type: Text = ""
    context: One[Context] = Context()
    text: One[TextContent] = TextContent()
    button: One[ButtonContent] = ButtonContent()
    interactive: One[Interactive] = Interactive()
    system: One[SystemContent] = SystemContent()
    errors: Many[GraphError] = ()


class Status(Model):
    """How far a message of ours got. Meta: Status messages webhook reference."""

    id: Id = ""
    status: Text = ""
    timestamp: Text = ""
    recipient_id: Id = ""
    recipient_type: Text = ""
    user_id: Annotated[Id, Field(validation_alias=AliasChoices("recipient_user_id", "user_id"))] = ""
    parent_user_id: Annotated[
        Id, Field(validation_alias=AliasChoices("recipient_parent_user_id", "parent_user_id"))
    ] = ""
    biz_opaque_callback_data: Text = ""
    errors: Many[GraphError] = ()


class Titled(Model):
    """Why a template was paused or disabled, in Meta's words."""

    title: Text = ""
    description: Text = ""


class Rejection(Model):
    """Why a template was rejected, in Meta's words."""

    reason: Text = ""
    recommendation: Text = ""


class Disabling(Model):
    """When a template was disabled."""

    disable_date: Text = ""


class TemplateChange(Model):
    """The ``value`` of the fields about templates. The id is a number here and text in REST."""

    event: Text = ""
    message_template_id: Id = ""
    message_template_name: Text = ""
    message_template_language: Text = ""
    reason: Text = ""
    rejection_info: One[Rejection] = Rejection()
    other_info: One[Titled] = Titled()
    disable_info: One[Disabling] = Disabling()
    new_quality_score: Text = ""
    new_category: Text = ""


class FlowChange(Model):
    """The ``value`` of field ``flows``."""

    event: Text = ""
    flow_id: Id = ""
    old_status: Text = ""
    new_status: Text = ""


class Preference(Model):
    """What a person chose about marketing messages."""

    wa_id: Id = ""
    user_id: Id = ""
    parent_user_id: Id = ""
    category: Text = ""
    value: Text = ""
    timestamp: Text = ""


class PreferencesValue(Model):
    """The ``value`` of field ``user_preferences``."""

    metadata: One[Metadata] = Metadata()
    contacts: Many[Person] = ()
    user_preferences: Items = ()


class Success(Model):
    """The answer to an edit or a deletion."""

    success: JsonValue = None
