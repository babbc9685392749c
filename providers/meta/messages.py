"""The messages that we send, as Meta wants them, and what is missing or wrong in them. Meta: Sending a Flow."""

from enum import StrEnum

from domain.free_form import has_emoji
from domain.model import E164, JsonValue, Slug, Written
from domain.sends import Send, SendNames
from providers.meta import rules
from providers.meta.settings import MetaSettings

FLOW_MESSAGE_VERSION = "3"
"""Text, not a number. Meta: Sending a Flow."""


class FlowMode(StrEnum):
    """Which version of a Flow opens: the last published one, or the draft of an edited one, for trials only."""

    PUBLISHED = "published"
    DRAFT = "draft"


class FlowAction(StrEnum):
    """What the button does: opens a screen, or asks an encrypted endpoint for one."""

    NAVIGATE = "navigate"
    DATA_EXCHANGE = "data_exchange"


class InteractiveFlow(Written):
    """A flow message inside the 24-hour window, without a template. The Flow by exactly one of id and name."""

    line: Slug
    address: E164
    body: str
    cta: str
    """The button's text, at most 30 characters, no emoji."""
    header: str = ""
    footer: str = ""
    flow_id: str = ""
    flow_name: str = ""
    mode: FlowMode = FlowMode.PUBLISHED
    flow_action: FlowAction = FlowAction.NAVIGATE
    screen: str = ""
    """First screen; empty for the Flow's own first one."""
    data: dict[str, JsonValue] | None = None
    """What the first screen is given: not empty, numbers stay numbers."""


def digits_of(address: E164) -> str:
    """A number as Meta wants it: digits with country code, no plus."""
    return address.removeprefix("+")


def mistakes_in_send(send: Send, names: SendNames, *, with_flow: bool) -> list[str]:
    """Everything for which Meta would refuse a template message, or take it and lose our ties."""
    values = dict(send.parameters)
    found = [*_mistakes_in_names(names)]
    if len(send.parameters) != len(send.template.variables):
        wanted = len(send.template.variables)
        found.append(f"template.components body parameters: {len(send.parameters)}, the template takes {wanted}")
    for n, (name, value) in enumerate(send.parameters, start=1):
        found += rules.parameter(f"template.components body parameter {n} ({name})", value)
    if not with_flow:
        return found
    if send.flow is None:
        return [*found, "template.components button: the send has no flow"]
    found += rules.token("template.components button flow_token", names.flow_token)
    found += rules.writable("template.components button flow_action_data", send.flow.data)
    found += [
        f"template.components button flow_action_data {name}: no parameter of the template has this name"
        for name in send.flow.prefill
        if name not in values
    ]
    return found


def template_message(send: Send, names: SendNames, *, with_flow: bool) -> dict[str, JsonValue]:
    """A template message. The button component stands in it even without data: Meta refuses its absence (131009)."""
    parameters = [_parameter(name, value, named=send.template.named) for name, value in send.parameters]
    components: list[JsonValue] = [{"type": "body", "parameters": parameters}] if parameters else []
    if with_flow:
        components.append(_flow_button(send, names))
    template: dict[str, JsonValue] = {
        "name": send.template.name,
        "language": {"code": send.template.language},
        **({"components": components} if components else {}),
    }
    return {**_envelope(send.address, names, "template"), "template": template}


def mistakes_in_interactive(message: InteractiveFlow, names: SendNames, settings: MetaSettings) -> list[str]:
    """Everything for which Meta would refuse a flow message."""
    at = "interactive.action.parameters"
    found = [
        *_mistakes_in_names(names),
        *rules.token(f"{at}.flow_token", names.flow_token),
        *rules.length("interactive.body.text", message.body, rules.LONGEST_BODY),
        *rules.length("interactive.header.text", message.header, rules.LONGEST_HEADER, required=False),
        *rules.length("interactive.footer.text", message.footer, rules.LONGEST_FOOTER, required=False),
        *rules.length(f"{at}.flow_cta", message.cta, rules.LONGEST_CTA),
    ]
    if has_emoji(message.cta):
        found.append(f"{at}.flow_cta: holds an emoji")
    if bool(message.flow_id) == bool(message.flow_name):
        found.append(f"{at}: exactly one of flow_id and flow_name")
    found += _mistakes_in_action(message, settings, at)
    return found


def interactive_message(message: InteractiveFlow, names: SendNames) -> dict[str, JsonValue]:
    """A flow message."""
    payload: dict[str, JsonValue] = {
        **({"screen": message.screen} if message.screen else {}),
        **({"data": message.data} if message.data else {}),
    }
    parameters: dict[str, JsonValue] = {
        "flow_message_version": FLOW_MESSAGE_VERSION,
        "flow_token": names.flow_token,
        **({"flow_id": message.flow_id} if message.flow_id else {"flow_name": message.flow_name}),
        "flow_cta": message.cta,
        "mode": message.mode.value,
        "flow_action": message.flow_action.value,
        **({"flow_action_payload": payload} if payload else {}),
    }
    interactive: dict[str, JsonValue] = {
        "type": "flow",
        **({"header": {"type": "text", "text": message.header}} if message.header else {}),
        "body": {"text": message.body},
        **({"footer": {"text": message.footer}} if message.footer else {}),
        "action": {"name": "flow", "parameters": parameters},
    }
    return {**_envelope(message.address, names, "interactive"), "interactive": interactive}


def free_text_mistakes(send: Send, names: SendNames) -> list[str]:
    """Everything for which Meta would refuse a free text."""
    text = send.free_form.text if send.free_form else ""
    return [*_mistakes_in_names(names), *rules.length("text.body", text, rules.LONGEST_TEXT)]


def free_text(send: Send, names: SendNames) -> dict[str, JsonValue]:
    """A free text, for inside the 24-hour window only. Meta: Cloud API, text messages."""
    return {**_envelope(send.address, names, "text"), "text": {"body": send.free_form.text if send.free_form else ""}}


def interactive_of(send: Send) -> InteractiveFlow:
    """The flow message that leaves in place of the template of ``send``: the same Flow, screen and data."""
    free_form, flow, values = send.free_form, send.flow, dict(send.parameters)
    return InteractiveFlow(
        line=send.line,
        address=send.address,
        body=free_form.text if free_form else "",
        cta=free_form.button if free_form else "",
        flow_id=flow.id if flow else "",
        screen=flow.screen if flow else "",
        data={**flow.data, **{name: values[name] for name in flow.prefill if name in values}} or None if flow else None,
    )


def _envelope(address: E164, names: SendNames, kind: str) -> dict[str, JsonValue]:
    return {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": digits_of(address),
        "type": kind,
        "biz_opaque_callback_data": names.reference,
    }


def _parameter(name: str, value: str, *, named: bool) -> JsonValue:
    return {"type": "text", **({"parameter_name": name} if named else {}), "text": value}


def _flow_button(send: Send, names: SendNames) -> JsonValue:
    flow, values = send.flow, dict(send.parameters)
    data: dict[str, JsonValue] = {**flow.data, **{name: values[name] for name in flow.prefill}} if flow else {}
    action: dict[str, JsonValue] = {
        "flow_token": names.flow_token,
        **({"flow_action_data": data} if data else {}),
    }
    return {
        "type": "button",
        "sub_type": "flow",
        "index": str(flow.button if flow else 0),
        "parameters": [{"type": "action", "action": action}],
    }


def _mistakes_in_names(names: SendNames) -> list[str]:
    return rules.length("biz_opaque_callback_data", names.reference, rules.LONGEST_CALLBACK)


def _mistakes_in_action(message: InteractiveFlow, settings: MetaSettings, at: str) -> list[str]:
    if message.flow_action is FlowAction.DATA_EXCHANGE:
        found = [] if settings.allow_data_exchange else [f"{at}.flow_action: data_exchange is not switched on"]
        if message.screen or message.data is not None:
            found.append(f"{at}.flow_action_payload: only with navigate")
        return found
    if message.data is None:
        return []
    empty = [] if message.data else [f"{at}.flow_action_payload.data: is empty; leave it out"]
    return [*empty, *rules.writable(f"{at}.flow_action_payload.data", message.data)]
