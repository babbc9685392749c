"""A template specification as Meta takes it, and everything for which Meta would refuse it.

Of the buttons only FLOW and quick replies are ours: a message fills no others. Meta: Sending a Flow; Message templates.
"""

from collections.abc import Iterator

from domain.model import JsonValue
from domain.templates import (
    ButtonType,
    Fault,
    FlowAction,
    TemplateButton,
    TemplateCategory,
    TemplateSpecification,
)
from providers.meta import messages, rules, template_spec
from providers.meta.settings import MetaSettings
from providers.meta.template_spec import FlowButton, TemplateSpec

MOST_BUTTONS = 10


def faults_in(spec: TemplateSpecification, settings: MetaSettings) -> tuple[Fault, ...]:
    """Everything for which Meta would refuse a specification that is right by WhatsApp's own rules."""
    return (*_faults(spec), *_faults_in_buttons(spec, settings))


def attributes_of(spec: TemplateSpecification) -> dict[str, JsonValue]:
    """The body of a creation, out of a specification without faults."""
    attributes = template_spec.attributes(_texts_of(spec))
    components = attributes["components"]
    if spec.buttons and isinstance(components, list):
        components.append({"type": "BUTTONS", "buttons": [_button(button) for button in spec.buttons]})
    return attributes


def _faults(spec: TemplateSpecification) -> Iterator[Fault]:
    if spec.category is TemplateCategory.AUTHENTICATION:
        text = "Meta's authentication templates have a fixed text and a code, which an engagement cannot send"
        yield Fault(("category",), text)
    if len(spec.buttons) > MOST_BUTTONS:
        yield Fault(("buttons",), f"{len(spec.buttons)} buttons, Meta allows {MOST_BUTTONS}")


def _faults_in_buttons(spec: TemplateSpecification, settings: MetaSettings) -> Iterator[Fault]:
    flows = 0
    for position, button in enumerate(spec.buttons):
        at = ("buttons", position)
        if button.type is not ButtonType.FLOW:
            if len(button.text) > rules.LONGEST_BUTTON:
                yield Fault((*at, "text"), f"{len(button.text)} characters, at most {rules.LONGEST_BUTTON}")
            continue
        flows += 1
        if flows > 1:
            yield Fault(at, "Meta allows one FLOW button")
        for member, text in template_spec.faults_in_button(_flow_button(button), settings):
            if (member, text) != ("text", "is empty"):  # told already: no provider takes that
                yield Fault((*at, member) if member else at, text)


def _texts_of(spec: TemplateSpecification) -> TemplateSpec:
    return TemplateSpec(
        name=spec.name,
        language=spec.language,
        category=template_spec.TemplateCategory(spec.category.value),
        header=spec.header,
        body=spec.body,
        footer=spec.footer,
        examples=() if spec.is_named else spec.samples,
        named_examples=dict(zip(spec.variables, spec.samples, strict=True)) if spec.is_named else {},
    )


def _button(button: TemplateButton) -> JsonValue:
    if button.type is ButtonType.FLOW:
        return template_spec.flow_button(_flow_button(button))
    return {"type": button.type.value, "text": button.text}


def _flow_button(button: TemplateButton) -> FlowButton:
    return FlowButton(
        text=button.text,
        flow_id=button.flow_id,
        flow_name=button.flow_name,
        flow_json=button.flow_json,
        flow_action=messages.FlowAction((button.flow_action or FlowAction.NAVIGATE).value),
        navigate_screen=button.navigate_screen,
    )
