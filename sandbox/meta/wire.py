"""The shapes of request bodies, read from Meta's pages; every mistake of a body is found at once."""

import json
import unicodedata
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError

from sandbox.meta.errors import INVALID, MISSING, PARAMETER, Mistake, Refused, refuse
from sandbox.meta.settings import UNUSED_TOKEN
from sandbox.values import JsonObject

Text = Annotated[str, StringConstraints(min_length=1)]
_EMOJI_PARTS = frozenset("\ufe0f\u200d\u20e3")


def _without_emoji(text: str) -> str:
    if any(unicodedata.category(sign) == "So" or sign in _EMOJI_PARTS for sign in text):
        raise ValueError("holds an emoji")
    return text


class Shape(BaseModel):
    """Part of a request body. Types are not converted and members are all known."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


ShapeT = TypeVar("ShapeT", bound=Shape)


# -- templates


class NewTemplate(Shape):
    """POST /{waba}/message_templates. Components are read in a second step, by their type."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,512}$")]
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(_[A-Z]{2,3})?$")]
    category: Literal["MARKETING", "UTILITY", "AUTHENTICATION"]
    parameter_format: Literal["POSITIONAL", "NAMED"] = "POSITIONAL"
    components: Annotated[tuple[JsonObject, ...], Field(min_length=1)]


class EditedTemplate(Shape):
    """POST /{template-id}: at least one of the two."""

    category: Literal["MARKETING", "UTILITY", "AUTHENTICATION"] | None = None
    components: Annotated[tuple[JsonObject, ...], Field(min_length=1)] | None = None


class NamedExample(Shape):
    """A sample value of a named variable."""

    param_name: Text
    example: Text


class Example(Shape):
    """Sample values for Meta's review."""

    body_text: tuple[tuple[Text, ...], ...] | None = None
    body_text_named_params: tuple[NamedExample, ...] | None = None


class HeaderComponent(Shape):
    """The title of a template; texts without variables only."""

    type: str
    format: Literal["TEXT"]
    text: Annotated[str, StringConstraints(min_length=1, max_length=60)]


class BodyComponent(Shape):
    """The text of a template."""

    type: str
    text: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    example: Example | None = None


class FooterComponent(Shape):
    """The last line of a template."""

    type: str
    text: Annotated[str, StringConstraints(min_length=1, max_length=60)]


class ButtonsComponent(Shape):
    """The buttons of a template, each read by its type."""

    type: str
    buttons: Annotated[tuple[JsonObject, ...], Field(min_length=1, max_length=10)]


ButtonText = Annotated[str, StringConstraints(min_length=1, max_length=25)]


class FlowButton(Shape):
    """The button that opens a Flow. Meta: Sending a Flow, table of button members."""

    type: Literal["FLOW"]
    text: ButtonText
    flow_id: str | int | None = None
    flow_name: str | None = None
    flow_json: str | None = None
    flow_action: Literal["navigate", "data_exchange"] = "navigate"
    navigate_screen: Text | None = None


class QuickReplyButton(Shape):
    """A button that answers with its own label."""

    type: Literal["QUICK_REPLY"]
    text: ButtonText


# -- messages


class Envelope(Shape):
    """POST /{phone-number-id}/messages. The content is read in a second step, by its type."""

    messaging_product: Literal["whatsapp"]
    recipient_type: Literal["individual"] = "individual"
    to: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{6,14}$")]
    type: Literal["template", "interactive", "text"]
    biz_opaque_callback_data: Annotated[str, StringConstraints(min_length=1, max_length=512)] | None = None
    template: JsonObject | None = None
    interactive: JsonObject | None = None
    text: JsonObject | None = None


class TextContent(Shape):
    """A free text."""

    body: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    preview_url: bool = False


class Language(Shape):
    """The exact code: ``en`` is not ``en_US``."""

    code: Text


class TemplateContent(Shape):
    """A template by name and language. Components are read in a second step, by their type."""

    name: Text
    language: Language
    components: tuple[JsonObject, ...] = ()


class TextParameter(Shape):
    """The value of one variable."""

    type: Literal["text"]
    text: Text
    parameter_name: Text | None = None


class BodyParameters(Shape):
    """The values of the body."""

    type: str
    parameters: tuple[TextParameter, ...]


class Action(Shape):
    """What a FLOW button carries; both optional."""

    flow_token: Text = UNUSED_TOKEN
    flow_action_data: JsonObject | None = None


class ActionParameter(Shape):
    """The one parameter of a FLOW button."""

    type: Literal["action"]
    action: Action


class PayloadParameter(Shape):
    """What a quick-reply button answers with."""

    type: Literal["payload"]
    payload: Text


class FlowButtonParameters(Shape):
    """The component of a FLOW button: ``index`` is text."""

    type: str
    sub_type: str
    index: Annotated[str, StringConstraints(pattern=r"^[0-9]$")]
    parameters: Annotated[tuple[ActionParameter, ...], Field(min_length=1, max_length=1)]


class QuickReplyParameters(Shape):
    """The component of a quick-reply button."""

    type: str
    sub_type: str
    index: Annotated[str, StringConstraints(pattern=r"^[0-9]$")]
    parameters: Annotated[tuple[PayloadParameter, ...], Field(min_length=1, max_length=1)]


class ShortText(Shape):
    """A footer."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=60)]


class HeaderText(ShortText):
    """A header; texts only."""

    type: Literal["text"]


class LongText(Shape):
    """The body of a flow message."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class ActionPayload(Shape):
    """What the first screen is given, and which one it is."""

    screen: Text | None = None
    data: Annotated[JsonObject, Field(min_length=1)] | None = None


class FlowParameters(Shape):
    """How a flow message opens its Flow. The table of the guide is cut off; the rest is from the other pages."""

    flow_message_version: Literal["3"]
    flow_token: Text = UNUSED_TOKEN
    flow_id: Text | None = None
    flow_name: Text | None = None
    flow_cta: Annotated[str, StringConstraints(min_length=1, max_length=30), AfterValidator(_without_emoji)]
    mode: Literal["published", "draft"] = "published"
    flow_action: Literal["navigate", "data_exchange"] = "navigate"
    flow_action_payload: ActionPayload | None = None


class FlowAction(Shape):
    """``interactive.action``."""

    name: Literal["flow"]
    parameters: FlowParameters


class InteractiveContent(Shape):
    """A flow message without a template."""

    type: Literal["flow"]
    header: HeaderText | None = None
    body: LongText
    footer: ShortText | None = None
    action: FlowAction


# -- reading


@dataclass(frozen=True)
class Codes:
    """The codes for a member that is missing, or wrong."""

    missing: int
    wrong: int


OF_TEMPLATES = Codes(PARAMETER, PARAMETER)
OF_MESSAGES = Codes(MISSING, INVALID)


def decoded(body: bytes) -> JsonValue:
    """Read a request body as JSON, or refuse it."""
    try:
        value: JsonValue = json.loads(body)
    except ValueError:
        raise refuse(PARAMETER, "json", "the body is not JSON", "body") from None
    return value


def read(shape: type[ShapeT], value: JsonValue, codes: Codes, *, strict: bool, at: str = "") -> ShapeT:
    """Read a value as a shape.

    Args:
        shape: what is expected.
        value: what came, decoded.
        codes: what a mistake is called.
        strict: whether members that the pages do not show are mistakes.
        at: JSON pointer of the value within the body.

    Raises:
        Refused: every mistake, with its pointer.

    """
    try:
        # Through JSON, because strict reading of Python values would refuse a list where a tuple is meant.
        return shape.model_validate_json(json.dumps(value), extra="forbid" if strict else "ignore")
    except ValidationError as wrong:
        errors = wrong.errors(include_input=False, include_url=False, include_context=False)
    # A list whose only element is wrong counts as too short as well: that is no second mistake.
    inner = {e["loc"][:length] for e in errors for length in range(len(e["loc"]))}
    errors = [e for e in errors if not (e["type"] == "too_short" and e["loc"] in inner)]
    raise Refused([_mistake(e["type"], e["loc"], e["msg"], codes, at) for e in errors])


def attempt(
    shape: type[ShapeT], value: JsonValue, codes: Codes, *, strict: bool, at: str
) -> tuple[ShapeT | None, list[Mistake]]:
    """Read a value as a shape, and go on where it cannot be read."""
    try:
        return read(shape, value, codes, strict=strict, at=at), []
    except Refused as refused:
        return None, list(refused.mistakes)


def _mistake(kind: str, place: tuple[str | int, ...], message: str, codes: Codes, at: str) -> Mistake:
    where = at + "".join(f"/{part}" for part in place)
    match kind:
        case "missing":
            return Mistake(codes.missing, "missing-member", f"{where}: is required", where)
        case "extra_forbidden":
            return Mistake(PARAMETER, "unknown-member", f"Unexpected key on {where}", where)
        case _:
            return Mistake(codes.wrong, "invalid-member", f"{where}: {message}", where)
