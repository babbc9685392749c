"""Rules about the parts of a template: texts, variables with their samples, and the button that opens a Flow."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from sandbox.meta.book import Book, Flow, variables
from sandbox.meta.errors import PARAMETER, Mistake
from sandbox.meta.settings import MetaFlow
from sandbox.meta.wire import (
    OF_TEMPLATES,
    BodyComponent,
    ButtonsComponent,
    FlowButton,
    FooterComponent,
    HeaderComponent,
    QuickReplyButton,
    Shape,
    attempt,
)
from sandbox.values import JsonObject

_PARTS: dict[str, type[HeaderComponent | BodyComponent | FooterComponent | ButtonsComponent]] = {
    "HEADER": HeaderComponent,
    "BODY": BodyComponent,
    "FOOTER": FooterComponent,
    "BUTTONS": ButtonsComponent,
}


@dataclass
class Judged:
    """The parts of a template as the API will show them, and what is wrong with them."""

    components: list[JsonObject] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    new_flow: Flow | None = None
    """The Flow that ``flow_json`` makes."""


class Components:
    """Judges the components of one request."""

    def __init__(self, book: Book, owner: str, *, named: bool, strict: bool) -> None:
        self._book = book
        self._owner = owner
        self._named = named
        self._strict = strict
        self._judged = Judged()

    def judge(self, written: Sequence[JsonObject]) -> Judged:
        """Read every component; ``type`` in either case."""
        seen: list[str] = []
        for place, component in enumerate(written):
            at = f"/components/{place}"
            kind = str(component.get("type", "")).upper()
            if kind not in _PARTS:
                self._wrong("component-type", "HEADER, BODY, FOOTER or BUTTONS", f"{at}/type")
                continue
            if kind in seen:
                self._wrong("component-twice", f"{kind} is there twice", at)
            seen.append(kind)
            shape = self._read(_PARTS[kind], component, at)
            match shape:
                case BodyComponent():
                    self._body(shape, at)
                case ButtonsComponent():
                    self._buttons(shape, at)
                    continue
                case HeaderComponent() | FooterComponent() if variables(shape.text):
                    self._wrong("variable", f"a {kind.lower()} takes no variable here", f"{at}/text")
                case _:
                    pass
            self._judged.components.append({**component, "type": kind})
        if "BODY" not in seen:
            self._wrong("body-missing", "a template has a BODY", "/components")
        return self._judged

    def _wrong(self, rule: str, detail: str, where: str) -> None:
        self._judged.mistakes.append(Mistake(PARAMETER, rule, detail, where))

    def _read(self, shape: type[Shape], value: JsonValue, at: str) -> Shape | None:
        found, mistakes = attempt(shape, value, OF_TEMPLATES, strict=self._strict, at=at)
        self._judged.mistakes += mistakes
        return found

    def _body(self, body: BodyComponent, at: str) -> None:
        used = variables(body.text)
        if self._named != any(not name.isdigit() for name in used) and used:
            self._wrong("parameter-format", "variables have numbers, or names with NAMED", f"{at}/text")
            return
        if not self._named and used != [str(n) for n in range(1, len(used) + 1)]:
            self._wrong("variable-numbers", "variables are {{1}}, {{2}} … in order without a gap", f"{at}/text")
            return
        if not used:
            return
        if self._named:
            samples = body.example.body_text_named_params if body.example is not None else None
            if sorted(sample.param_name for sample in samples or ()) != sorted(used):
                detail = "body_text_named_params needs a sample for each variable"
                self._wrong("example", detail, f"{at}/example/body_text_named_params")
            return
        rows = body.example.body_text if body.example is not None else None
        if not rows or any(len(row) != len(used) for row in rows):
            detail = f"body_text needs rows of {len(used)} sample values"
            self._wrong("example", detail, f"{at}/example/body_text")

    # -- buttons

    def _buttons(self, component: ButtonsComponent, at: str) -> None:
        shown: list[JsonValue] = []
        flows = 0
        for place, button in enumerate(component.buttons):
            where = f"{at}/buttons/{place}"
            match button.get("type"):
                case "FLOW":
                    flows += 1
                    found = self._read(FlowButton, button, where)
                    if isinstance(found, FlowButton):
                        shown.append(self._flow_button(found, where))
                case "QUICK_REPLY":
                    self._read(QuickReplyButton, button, where)
                    shown.append(dict(button))
                case _:
                    self._wrong("button-type", "FLOW or QUICK_REPLY", f"{where}/type")
        if flows > 1:
            self._wrong("flow-twice", "at most one FLOW button", f"{at}/buttons")
        self._judged.components.append({"type": "BUTTONS", "buttons": shown})

    def _flow_button(self, button: FlowButton, at: str) -> JsonObject:
        shown: JsonObject = {"type": "FLOW", "text": button.text, "flow_action": button.flow_action}
        if button.navigate_screen is not None:
            shown["navigate_screen"] = button.navigate_screen
        sources = [s for s in (button.flow_id, button.flow_name, button.flow_json) if s is not None]
        if len(sources) != 1:
            self._wrong("flow-source", "exactly one of flow_id, flow_name and flow_json", at)
            return shown
        flow = self._flow(button, at)
        self._screen(button, flow, at)
        if flow is not None:
            shown["flow_id"] = self._book.shown_id(flow.of.id)
        return shown

    def _flow(self, button: FlowButton, at: str) -> Flow | None:
        if button.flow_json is not None:
            return self._flow_in(button.flow_json, f"{at}/flow_json")
        if button.flow_name is not None:
            flow, where = self._book.flow_named(button.flow_name), f"{at}/flow_name"
        else:
            flow, where = self._book.flows.get(str(button.flow_id)), f"{at}/flow_id"
        if flow is None:
            self._wrong("unknown-flow", "no Flow of this id or name", where)
        elif flow.status != "PUBLISHED":
            self._wrong("flow-not-published", f"the Flow is {flow.status}", where)
        return flow

    def _flow_in(self, text: str, at: str) -> Flow | None:
        """The Flow that a Flow JSON makes; it is created and published with the template."""
        try:
            document: JsonValue = json.loads(text)
        except ValueError:
            self._wrong("flow-json", "flow_json is not JSON", at)
            return None
        listed = document.get("screens") if isinstance(document, dict) else None
        screens = (
            [str(s["id"]) for s in listed if isinstance(s, dict) and "id" in s] if isinstance(listed, list) else []
        )
        if not isinstance(document, dict) or "version" not in document or not screens:
            self._wrong("flow-json", "Flow JSON has a version and screens with ids", at)
            return None
        flow_id = self._book.number("flow", self._owner)
        made = MetaFlow(id=flow_id, name=f"flow_of_{flow_id}", screens=tuple(screens))
        self._judged.new_flow = Flow(made, made.status)
        return self._judged.new_flow

    def _screen(self, button: FlowButton, flow: Flow | None, at: str) -> None:
        where = f"{at}/navigate_screen"
        if button.flow_action == "data_exchange":
            if button.navigate_screen is not None:
                self._wrong("navigate-screen", "only with flow_action navigate", where)
            if flow is not None and not flow.of.endpoint:
                self._wrong("data-exchange", "the Flow has no endpoint", f"{at}/flow_action")
        elif button.navigate_screen is None:
            self._wrong("navigate-screen", "is required with flow_action navigate (A-M3)", where)
        elif flow is not None and flow.of.screens and button.navigate_screen not in flow.of.screens:
            self._wrong("unknown-screen", "the Flow has no screen of this id", where)
