"""How a template is filled in a message: the values of its body, and one component for its FLOW button."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sandbox.meta.book import Template, variables
from sandbox.meta.errors import INVALID, Mistake
from sandbox.meta.settings import UNUSED_TOKEN
from sandbox.meta.wire import (
    OF_MESSAGES,
    BodyParameters,
    FlowButtonParameters,
    QuickReplyParameters,
    attempt,
)
from sandbox.values import JsonObject

LONGEST_BODY = 1024


@dataclass
class Filled:
    """What a template is filled with, and what is wrong with that."""

    values: dict[str, str] = field(default_factory=dict)
    flow_token: str = UNUSED_TOKEN
    quick_replies: list[tuple[str, str]] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)


def fill(template: Template, components: Sequence[JsonObject], *, strict: bool) -> Filled:
    """Judge the components of a template message against the template."""
    return _Filling(template, strict=strict).judge(components)


class _Filling:
    """One message being judged."""

    def __init__(self, template: Template, *, strict: bool) -> None:
        self._template = template
        self._strict = strict
        self._filled = Filled()
        self._variables = variables(template.text("BODY"))
        self._payloads: dict[int, str] = {}
        self._places: list[int] = []
        self._flow_was_tried = False

    def judge(self, components: Sequence[JsonObject]) -> Filled:
        bodies = 0
        for place, component in enumerate(components):
            at, kind = f"/template/components/{place}", str(component.get("type", "")).upper()
            if kind == "BODY" and not bodies:
                bodies += 1
                self._body(component, at)
            elif kind == "BUTTON":
                self._button(component, at)
            else:
                rule = "component-twice" if kind == "BODY" else "component-type"
                self._wrong(INVALID, rule, "body once, and buttons", f"{at}/type")
        if not bodies and self._variables:
            self._wrong_count(0)
        for place, button in enumerate(self._template.buttons):
            label = str(button["text"])
            if button["type"] == "QUICK_REPLY":
                self._filled.quick_replies.append((label, self._payloads.get(place, label)))
            elif place not in self._places and not self._flow_was_tried:
                detail = f"Button at index {place} of type Flow requires a parameter"
                self._wrong(INVALID, "flow-button", detail, "/template/components")
        return self._filled

    def _wrong(self, code: int, rule: str, detail: str, where: str) -> None:
        self._filled.mistakes.append(Mistake(code, rule, detail, where))

    def _wrong_count(self, given: int) -> None:
        expected = f"does not match the expected number of params ({len(self._variables)})"
        detail = f"body: number of localizable_params ({given}) {expected}"
        self._wrong(132000, "parameter-count", detail, "/template/components")

    def _body(self, component: JsonObject, at: str) -> None:
        body, mistakes = attempt(BodyParameters, component, OF_MESSAGES, strict=self._strict, at=at)
        self._filled.mistakes += mistakes
        if body is None:
            return
        if len(body.parameters) != len(self._variables):
            self._wrong_count(len(body.parameters))
            return
        named = self._template.parameter_format == "NAMED"
        given = [parameter.parameter_name for parameter in body.parameters]
        if sorted(given, key=str) != (sorted(self._variables) if named else [None] * len(given)):
            detail = "parameter_name must be the template's variables" if named else "the variables have no names"
            self._wrong(132012, "parameter-format", detail, f"{at}/parameters")
            return
        names = [name or "" for name in given] if named else self._variables
        self._filled.values = dict(zip(names, (parameter.text for parameter in body.parameters), strict=True))
        for place, parameter in enumerate(body.parameters):
            if any(sign in parameter.text for sign in ("\n", "\t", "     ")):
                detail = "Param text cannot have new-line/tab characters or more than 4 consecutive spaces"
                self._wrong(132018, "parameter-text", detail, f"{at}/parameters/{place}/text")
        if len(self._template.filled(self._filled.values)) > LONGEST_BODY:
            self._wrong(132005, "text-too-long", "the filled text is too long", at)

    def _button(self, component: JsonObject, at: str) -> None:
        match str(component.get("sub_type", "")).upper():
            case "FLOW":
                self._flow_was_tried = True
                flow, mistakes = attempt(FlowButtonParameters, component, OF_MESSAGES, strict=self._strict, at=at)
                self._filled.mistakes += mistakes
                if flow is not None and self._is_there(int(flow.index), "FLOW", at):
                    self._filled.flow_token = flow.parameters[0].action.flow_token
            case "QUICK_REPLY":
                reply, mistakes = attempt(QuickReplyParameters, component, OF_MESSAGES, strict=self._strict, at=at)
                self._filled.mistakes += mistakes
                if reply is not None and self._is_there(int(reply.index), "QUICK_REPLY", at):
                    self._payloads[int(reply.index)] = reply.parameters[0].payload
            case _:
                self._wrong(INVALID, "button-type", "flow or quick_reply", f"{at}/sub_type")

    def _is_there(self, place: int, kind: str, at: str) -> bool:
        """Whether the template has such a button at the index, and it was not filled before."""
        buttons = self._template.buttons
        if place < len(buttons) and buttons[place]["type"] == kind and place not in self._places:
            self._places.append(place)
            return True
        self._wrong(INVALID, "button-index", f"no {kind} button at index {place} waits for a parameter", f"{at}/index")
        return False
