"""Messages without a template: what a plan says in its own words while the candidate's 24 hours are open. Pure."""

import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import StringConstraints, model_validator

from domain.model import Findings, Model, Written, refuse

WINDOW = timedelta(hours=24)
"""How long WhatsApp takes messages without a template after each message of the candidate's."""

MARGIN = timedelta(minutes=15)
"""How long before its end the window counts as closed: clocks differ, and a message takes its time to the provider."""

LONGEST_TEXT = 1024
LONGEST_BUTTON = 30

_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_EMOJI_PARTS = frozenset("\ufe0f\u200d\u20e3")


class MessageForm(StrEnum):
    """How a message leaves."""

    TEMPLATE = "template"
    FREE_FORM = "free-form"


class FreeFormMessage(Model):
    """A message without a template, for one candidate; ``button`` opens the flow of the step, where it has one."""

    text: str
    button: str = ""


class FreeForm(Written):
    """What leaves in place of the template while the candidate's 24 hours are open, because the plan has it."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_TEXT)]
    """``{{first_name}}`` stands for that column of the candidate's."""
    button: Annotated[str, StringConstraints(max_length=LONGEST_BUTTON)] = ""
    """The label of the button that opens the flow; needed where the step has one."""

    @model_validator(mode="after")
    def _makes_sense(self) -> "FreeForm":
        refuse(tuple(self._findings()))
        return self

    def _findings(self) -> Findings:
        if not self.text.strip():
            yield ("text",), "is empty"
        for name in _PLACEHOLDER.findall(self.text):
            if not _NAME.fullmatch(name):
                yield ("text",), f"{{{{{name}}}}} names no column of the candidate: write it as in {{{{first_name}}}}"
        rest = _PLACEHOLDER.sub("", self.text)
        if "{{" in rest or "}}" in rest:
            yield ("text",), "braces that do not close: a column of the candidate is written {{first_name}}"
        if has_emoji(self.button):
            yield ("button",), "holds an emoji, which WhatsApp refuses on this button"

    def variables(self) -> tuple[str, ...]:
        """The candidate's columns that it needs, each once."""
        return tuple(dict.fromkeys(_PLACEHOLDER.findall(self.text)))

    def filled(self, values: Mapping[str, str]) -> FreeFormMessage:
        """The message for a candidate with these columns."""
        text = _PLACEHOLDER.sub(lambda found: values.get(found.group(1), ""), self.text)
        return FreeFormMessage(text=text, button=self.button)


def findings_of_free_form(free_form: FreeForm | None, *, with_flow: bool) -> Findings:
    """What does not go together in a step that has this."""
    if free_form is None:
        return
    if with_flow and not free_form.button:
        yield ("free_form", "button"), "missing: the label of the button that opens the flow"
    if free_form.button and not with_flow:
        yield ("free_form", "button"), "has no effect without a flow: leave it out, or give the step a flow"


def form_at(last_inbound: datetime | None, at: datetime) -> MessageForm:
    """How a message leaves that may leave without a template, by when the candidate last wrote on that line.

    A hint: the provider's own clock decides, and what it refuses leaves as template.
    """
    is_open = last_inbound is not None and at - last_inbound < WINDOW - MARGIN
    return MessageForm.FREE_FORM if is_open else MessageForm.TEMPLATE


def has_emoji(text: str) -> bool:
    """Whether a text holds an emoji, or a part of one."""
    return any(unicodedata.category(c) == "So" or c in _EMOJI_PARTS or "\U0001f3fb" <= c <= "\U0001f3ff" for c in text)
