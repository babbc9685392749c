"""The shapes of request bodies, read from Recrubo's pages; every mistake of a body is reported at once."""

import json
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError

from sandbox.recrubo.envelope import Mistake, Refused, refuse
from sandbox.values import JsonObject

Text = Annotated[str, StringConstraints(min_length=1)]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")]


class Shape(BaseModel):
    """Part of a request body. Types are not converted and members are all known."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


ShapeT = TypeVar("ShapeT", bound=Shape)
TypeT = TypeVar("TypeT", bound=str)


class NewData(Shape, Generic[TypeT, ShapeT]):
    """``data`` of a creation: the server gives the id."""

    type: TypeT
    attributes: ShapeT


class New(Shape, Generic[TypeT, ShapeT]):
    """The body of a POST."""

    data: NewData[TypeT, ShapeT]


class ChangedData(Shape, Generic[TypeT, ShapeT]):
    """``data`` of a change: names what is changed."""

    type: TypeT
    id: str
    attributes: ShapeT


class Changed(Shape, Generic[TypeT, ShapeT]):
    """The body of a PATCH."""

    data: ChangedData[TypeT, ShapeT]


class ThreadAttributes(Shape):
    """POST /message-threads: exactly two attributes."""

    channel: Literal["whatsapp"]
    identifier: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{6,14}$")]


class ThreadChange(Shape):
    """PATCH /message-threads/{id}."""

    chatbotPaused: bool  # noqa: N815 - Recrubo's own name


class RunAttributes(Shape):
    """POST /flow-runs. The initial message is read in a second step, since ``{}`` has a meaning of its own."""

    flowId: Text  # noqa: N815 - Recrubo's own name
    messageThreadId: Text  # noqa: N815 - Recrubo's own name
    state: JsonObject
    initialMessage: JsonObject  # noqa: N815 - Recrubo's own name


class RunChange(Shape):
    """PATCH /flow-runs/{id}: one of the two at least."""

    status: Literal["finished", "timeout", "cancelled", "exception"] | None = None
    state: JsonObject | None = None


class Parameter(Shape):
    """The value of one variable."""

    type: Literal["text"]
    text: Text


class FilledComponent(Shape):
    """A part of a template with its variables filled."""

    type: Literal["header", "body"]
    parameters: tuple[Parameter, ...]


class TemplateChoice(Shape):
    """A template by id, with its variables filled."""

    id: Text
    components: tuple[FilledComponent, ...] = ()


class TemplateMessage(Shape):
    """A message made from a template."""

    type: Literal["template"]
    template: TemplateChoice


class TextValue(Shape):
    """The text of a message."""

    value: Text


class TextMessage(Shape):
    """A free text, for the 24-hour window only."""

    type: Literal["text"]
    text: TextValue


class MessageAttributes(Shape):
    """POST /messages. The payload is read in a second step, by its type."""

    sendBy: Text  # noqa: N815 - Recrubo's own name
    messageThreadId: Text  # noqa: N815 - Recrubo's own name
    payload: JsonObject


class Example(Shape):
    """Sample values for Meta's review."""

    body_text: tuple[tuple[Text, ...], ...] | None = None
    header_text: tuple[Text, ...] | None = None


class HeaderComponent(Shape):
    """The title of a template; texts only."""

    type: Literal["HEADER"]
    format: Literal["Text"]
    text: Text
    example: Example | None = None


class BodyComponent(Shape):
    """The text of a template."""

    type: Literal["BODY"]
    text: Text
    example: Example | None = None


class FooterComponent(Shape):
    """The last line of a template."""

    type: Literal["FOOTER"]
    text: Text


class TemplateAttributes(Shape):
    """POST /message-templates. Components are read in a second step, by their type."""

    name: Text
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(_[A-Z]{2})?$")]
    category: Literal["MARKETING", "UTILITY", "Authorization"]
    components: Annotated[tuple[JsonObject, ...], Field(min_length=1)]
    preview: Text


class OrganizationChange(Shape):
    """PATCH /organizations: both together."""

    webhookUrl: Url  # noqa: N815 - Recrubo's own name
    webhookSecret: Text  # noqa: N815 - Recrubo's own name


class WebhookAttributes(Shape):
    """POST /webhooks (A-R8)."""

    resource: Literal["flowRuns", "messages", "messageTemplates", "messageThreads"]
    event: Literal["create", "update", "delete"]
    fields: tuple[Text, ...] = ()
    webhookUrl: Url | None = None  # noqa: N815 - Recrubo's own name


NewThread = New[Literal["messageThreads"], ThreadAttributes]
ChangedThread = Changed[Literal["messageThreads"], ThreadChange]
NewRun = New[Literal["flowRuns"], RunAttributes]
ChangedRun = Changed[Literal["flowRuns"], RunChange]
NewMessage = New[Literal["messages"], MessageAttributes]
NewTemplate = New[Literal["messageTemplates"], TemplateAttributes]
ChangedOrganization = New[Literal["organizations"], OrganizationChange]
NewWebhook = New[Literal["webhooks"], WebhookAttributes]

_RULES = {"missing": "missing-attribute", "extra_forbidden": "unknown-member"}


def decoded(body: bytes) -> JsonValue:
    """Read a request body as JSON, or refuse it with 400."""
    try:
        value: JsonValue = json.loads(body)
    except ValueError:
        raise refuse(400, "json", "the body is not JSON") from None
    return value


def read(shape: type[ShapeT], value: JsonValue, *, strict: bool, at: str = "") -> ShapeT:
    """Read a value as a shape, or refuse it with 422 and every mistake.

    Args:
        shape: what is expected.
        value: what came, decoded.
        strict: whether members that the pages do not show are mistakes.
        at: JSON pointer of the value within the body.

    Raises:
        Refused: 422, a pointer for each mistake.

    """
    try:
        # Through JSON, because strict reading of Python values would refuse a list where a tuple is meant.
        return shape.model_validate_json(json.dumps(value))
    except ValidationError as wrong:
        errors = wrong.errors(include_input=False, include_url=False, include_context=False)
    unknown = [error["loc"] for error in errors if error["type"] == "extra_forbidden"]
    if unknown and not strict:
        return read(shape, _without(value, unknown), strict=True, at=at)
    raise Refused(
        422, [Mistake(_rule(error["type"], error["loc"]), error["msg"], _pointer(at, error["loc"])) for error in errors]
    )


def _rule(kind: str, place: tuple[str | int, ...]) -> str:
    if kind in _RULES:
        return _RULES[kind]
    return "data-type" if place == ("data", "type") else "invalid-attribute"


def _pointer(at: str, place: tuple[str | int, ...]) -> str:
    return at + "".join(f"/{part}" for part in place)


def _without(value: JsonValue, places: list[tuple[str | int, ...]]) -> JsonValue:
    copy: JsonValue = json.loads(json.dumps(value))
    for *path, last in places:
        owner = copy
        for part in path:
            if isinstance(owner, dict):
                owner = owner[str(part)]
            elif isinstance(owner, list):
                owner = owner[int(part)]
        if isinstance(owner, dict) and isinstance(last, str):
            del owner[last]
    return copy
