"""A template to create or edit: texts and one button that opens a WhatsApp Flow. Meta: Sending a Flow.

Header media, other buttons and authentication templates are not ours: an engagement could not fill them.
"""

import json
from enum import StrEnum

from domain.model import JsonValue, Written
from domain.plans import Language
from providers.meta import rules
from providers.meta.messages import FlowAction
from providers.meta.rules import VARIABLE, length
from providers.meta.settings import FlowSource, MetaSettings

_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")


class TemplateCategory(StrEnum):
    """What a template is for. Meta may change it; what comes back is what counts."""

    MARKETING = "MARKETING"
    UTILITY = "UTILITY"


class FlowButton(Written):
    """The button that opens a Flow, named by exactly one of id, name and JSON.

    The template keeps the Flow's id, so renaming the Flow later changes nothing.
    """

    text: str
    flow_id: str = ""
    flow_name: str = ""
    flow_json: str = ""
    """The Flow JSON as text; it is escaped once more on the wire."""
    flow_action: FlowAction = FlowAction.NAVIGATE
    navigate_screen: str = ""
    """The first screen: the id of one of the Flow's screens."""


class TemplateSpec(Written):
    """A template. ``examples`` fill the variables for Meta's reviewers: in order, or by name where they have names."""

    name: str
    language: Language
    category: TemplateCategory
    body: str
    header: str = ""
    footer: str = ""
    button: FlowButton | None = None
    examples: tuple[str, ...] = ()
    named_examples: dict[str, str] = {}


def mistakes_in(spec: TemplateSpec, settings: MetaSettings) -> list[str]:
    """Everything for which Meta would refuse a template."""
    found: list[str] = []
    if not spec.name or len(spec.name) > rules.LONGEST_NAME or not set(spec.name) <= _NAME_CHARACTERS:
        found.append(f"name: 1 to {rules.LONGEST_NAME} characters of a-z, 0-9 and _")
    found += length("components body text", spec.body, rules.LONGEST_BODY)
    found += length("components header text", spec.header, rules.LONGEST_HEADER, required=False)
    found += length("components footer text", spec.footer, rules.LONGEST_FOOTER, required=False)
    for field, text in (("header", spec.header), ("footer", spec.footer)):
        if VARIABLE.search(text):
            found.append(f"components {field} text: takes no variable; only the body does")
    found += _mistakes_in_examples(spec)
    if spec.button is not None:
        found += _mistakes_in_button(spec.button, settings)
    return found


def attributes(spec: TemplateSpec) -> dict[str, JsonValue]:
    """The template as Meta wants it."""
    named: dict[str, JsonValue] = {"parameter_format": "NAMED"} if spec.named_examples else {}
    return {
        "name": spec.name,
        "language": spec.language,
        "category": spec.category.value,
        **named,
        "components": components(spec),
    }


def components(spec: TemplateSpec) -> list[JsonValue]:
    """The parts of a template as Meta wants them."""
    header: list[JsonValue] = [{"type": "HEADER", "format": "TEXT", "text": spec.header}] if spec.header else []
    body: list[JsonValue] = [{"type": "body", "text": spec.body, **_examples(spec)}]
    footer: list[JsonValue] = [{"type": "FOOTER", "text": spec.footer}] if spec.footer else []
    buttons: list[JsonValue] = [{"type": "BUTTONS", "buttons": [flow_button(spec.button)]}] if spec.button else []
    return [*header, *body, *footer, *buttons]


def sources_of(button: FlowButton) -> dict[FlowSource, str]:
    """Every way in which a button names its Flow; right is exactly one."""
    named = {
        FlowSource.ID: button.flow_id,
        FlowSource.NAME: button.flow_name,
        FlowSource.JSON: button.flow_json,
    }
    return {source: value for source, value in named.items() if value}


def flow_button(button: FlowButton) -> JsonValue:
    """A FLOW button as Meta wants it."""
    return {
        "type": "FLOW",
        "text": button.text,
        "flow_action": button.flow_action.value,
        **({"navigate_screen": button.navigate_screen} if button.navigate_screen else {}),
        **{source.value: value for source, value in sources_of(button).items()},
    }


def _examples(spec: TemplateSpec) -> dict[str, JsonValue]:
    if spec.named_examples:
        named: list[JsonValue] = [{"param_name": n, "example": e} for n, e in spec.named_examples.items()]
        return {"example": {"body_text_named_params": named}}
    return {"example": {"body_text": [list(spec.examples)]}} if spec.examples else {}


def _mistakes_in_examples(spec: TemplateSpec) -> list[str]:
    field = "components body example"
    if spec.examples and spec.named_examples:
        return [f"{field}: by order or by name, not both"]
    used = VARIABLE.findall(spec.body)
    if any(not value.strip() for value in (*spec.examples, *spec.named_examples.values())):
        return [f"{field}: one is empty"]
    if spec.named_examples:
        wrong = set(used) != set(spec.named_examples)
        return [f"{field}: the names differ from the variables of the body"] if wrong else []
    wanted = [str(n) for n in range(1, len(spec.examples) + 1)]
    if sorted(set(used)) != sorted(wanted):
        return [f"{field}: {len(spec.examples)} given, and the body must use exactly {{{{1}}}} to that many"]
    return []


def _mistakes_in_button(button: FlowButton, settings: MetaSettings) -> list[str]:
    at = "components buttons FLOW"
    return [
        f"{at} {member}: {text}" if member else f"{at}: {text}" for member, text in faults_in_button(button, settings)
    ]


def faults_in_button(button: FlowButton, settings: MetaSettings) -> list[tuple[str, str]]:
    """What is wrong with a FLOW button, as (member, text); without a member it is about how several go together."""
    found = [("text", text.removeprefix(": ")) for text in length("", button.text, rules.LONGEST_BUTTON)]
    sources = sources_of(button)
    if len(sources) != 1:
        found.append(("", "exactly one of flow_id, flow_name and flow_json"))
    found += [
        (source.value, "not among flow_sources of the account's options")
        for source in sources
        if source not in settings.flow_sources
    ]
    found += _faults_in_screen(button, settings)
    if button.flow_json:
        found += _faults_in_flow_json(button)
    return found


def _faults_in_screen(button: FlowButton, settings: MetaSettings) -> list[tuple[str, str]]:
    screen = "navigate_screen"
    if button.flow_action is FlowAction.NAVIGATE:
        missing = settings.require_screen and not button.navigate_screen.strip()
        return [(screen, "required with flow_action navigate")] if missing else []
    found = [] if settings.allow_data_exchange else [("flow_action", "data_exchange is not switched on")]
    if button.navigate_screen:
        found.append((screen, "only with flow_action navigate"))
    return found


def _faults_in_flow_json(button: FlowButton) -> list[tuple[str, str]]:
    try:
        flow = json.loads(button.flow_json)
    except (ValueError, RecursionError):
        return [("flow_json", "is not JSON")]
    screens = flow.get("screens") if isinstance(flow, dict) else None
    if not isinstance(screens, list) or not screens:
        return [("flow_json", "is not an object with screens")]
    ids = {screen.get("id") for screen in screens if isinstance(screen, dict) and isinstance(screen.get("id"), str)}
    if button.navigate_screen and button.navigate_screen not in ids:
        return [("navigate_screen", "flow_json has no screen of this id")]
    return []
