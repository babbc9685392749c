"""Engagement plans: what is sent, how long we wait, what silence means. A plan travels inside the engagement."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from domain.model import Duration, JsonValue, Written

VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(?:_[A-Z]{2})?$")]


class TemplateRef(Written):
    """A pre-approved message: name and language, and the provider's own id where the provider sends by id."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,512}$")]
    language: Language
    id: str = ""
    variables: tuple[VariableName, ...] = ()
    """Candidate variables that fill ``{{1}}``, ``{{2}}`` … in order."""
    named: bool = False
    """The template's own variables have names instead of numbers, equal to those in ``variables``."""


class FlowRef(Written):
    """What starts when the candidate accepts: a provider flow, or a WhatsApp Flow behind the template's button.

    All but ``id`` is about WhatsApp Flows and unused where the provider runs the flow itself.
    """

    id: str = ""
    screen: str = ""
    """First screen of a WhatsApp Flow."""
    button: Annotated[int, Field(ge=0, le=9)] = 0
    """Position of the button that opens it among the template's buttons, counted from 0."""
    data: dict[str, JsonValue] = {}
    """What the first screen is given: the same for every candidate."""
    prefill: tuple[VariableName, ...] = ()
    """Variables of the template whose values the first screen is given too, under the same names."""


def _prefilled_by(template: TemplateRef, flow: FlowRef | None) -> None:
    """Only what the template takes travels with a send, so only that can fill a screen."""
    strangers = [name for name in (flow.prefill if flow else ()) if name not in template.variables]
    if strangers:
        raise ValueError(f"flow.prefill: {', '.join(strangers)}: not among the variables of template {template.name}")
    twice = [name for name in (flow.prefill if flow else ()) if flow and name in flow.data]
    if twice:
        raise ValueError(f"flow.prefill: {', '.join(twice)}: in flow.data as well; write it in one of them")


class Opening(Written):
    """The first contact: a template and the flow that it leads into."""

    template: TemplateRef
    flow: FlowRef

    @model_validator(mode="after")
    def _can_prefill(self) -> "Opening":
        _prefilled_by(self.template, self.flow)
        return self


class FollowUp(Written):
    """Our next message after silence. With a ``flow`` the candidate gets a new flow run, else only the template."""

    after: Duration
    """Counted from the previous message of ours."""
    template: TemplateRef
    flow: FlowRef | None = None

    @model_validator(mode="after")
    def _can_prefill(self) -> "FollowUp":
        _prefilled_by(self.template, self.flow)
        return self


class SilenceEnd(StrEnum):
    """What happens when the last wait passes and the provider, asked, has nothing."""

    CLOSE = "close"
    HAND_OVER = "hand-over"


class Silence(Written):
    """The last wait, counted from our last message, and what it means when it passes."""

    after: Duration
    then: SilenceEnd = SilenceEnd.CLOSE


class AnswerRule(Written):
    """Matches an answer by one field, compared as text without case."""

    field: VariableName
    equals: JsonValue

    def matches(self, answers: dict[str, JsonValue]) -> bool:
        """Whether ``answers`` holds the field with this value."""
        return self.field in answers and _folded(answers[self.field]) == _folded(self.equals)


def _folded(value: JsonValue) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).strip().casefold()


class UnexpectedText(StrEnum):
    """What a free text outside the flow means."""

    KEEP_WAITING = "keep-waiting"
    HAND_OVER = "hand-over"
    ANSWER = "answer"


class CategoryChange(StrEnum):
    """What happens when a provider moves a template to another category, which costs and reaches otherwise."""

    HOLD = "hold"
    GO_ON = "go-on"


class Plan(Written):
    """How one engagement goes. An edited plan never changes a running engagement: this is the copy it runs by."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,58}[a-z0-9])?$")]
    version: Annotated[int, Field(ge=1)] = 1
    opening: Opening
    follow_ups: tuple[FollowUp, ...] = ()
    silence: Silence
    declined_when: tuple[AnswerRule, ...] = ()
    unexpected_text: UnexpectedText = UnexpectedText.KEEP_WAITING
    category_change: CategoryChange = CategoryChange.HOLD
    """``hold``: a person agrees first; ``go-on``: it is sent, and the decision log says so."""
    step_expiry: Duration = Field(default="7d", validate_default=True)
    """How long one send may wait for its template, its provider or its line before it is no longer worth sending."""
    longest: Duration = Field(default="60d", validate_default=True)
    """The whole engagement ends EXPIRED or by its silence rule no later than this after its start."""

    @model_validator(mode="after")
    def _can_end_by_its_own_rules(self) -> "Plan":
        waits = sum((f.after for f in self.follow_ups), start=self.silence.after)
        if waits > self.longest:
            raise ValueError("longest: shorter than the waits added up, so the last steps could never be reached")
        return self

    def declines(self, answers: dict[str, JsonValue]) -> bool:
        """Whether these answers say no."""
        return any(rule.matches(answers) for rule in self.declined_when)

    def templates(self) -> tuple[TemplateRef, ...]:
        """Every template that the plan may send, in the order of its steps."""
        return (self.opening.template, *(f.template for f in self.follow_ups))

    def variables(self) -> frozenset[str]:
        """Every candidate variable that some template needs."""
        return frozenset(name for template in self.templates() for name in template.variables)
