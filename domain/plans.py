"""Engagement plans: what is sent, how long we wait, what silence means. A plan travels inside the engagement."""

from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag, model_validator

from domain.budgets import Budget, Category
from domain.free_form import FreeForm, findings_of_free_form
from domain.model import Duration, Findings, JsonValue, Place, Slug, Written, refuse
from domain.windows import SendWindow, faults

VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(?:_[A-Z]{2})?$")]

_OF_TEXTS = ("text", "payload")


class TemplateRef(Written):
    """A pre-approved message: name and language, and the provider's own id where the provider sends by id."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,512}$")]
    language: Language
    id: str = ""
    variables: tuple[VariableName, ...] = ()
    """Candidate variables that fill ``{{1}}``, ``{{2}}`` … in order."""
    named: bool = False
    """The template's own variables have names instead of numbers, equal to those in ``variables``."""
    category: Category | None = None
    """What the template is for, where a budget in money needs its price; what the provider says counts more."""


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


def _prefilled_by(template: TemplateRef, flow: FlowRef | None) -> Findings:
    """Only what the template takes travels with a send, so only that can fill a screen."""
    strangers = [name for name in (flow.prefill if flow else ()) if name not in template.variables]
    if strangers:
        yield ("flow", "prefill"), f"{', '.join(strangers)}: not among the variables of template {template.name}"
    twice = [name for name in (flow.prefill if flow else ()) if flow and name in flow.data]
    if twice:
        yield ("flow", "prefill"), f"{', '.join(twice)}: in flow.data as well; write it in one of them"


class Opening(Written):
    """The first contact: a template and the flow that it leads into."""

    template: TemplateRef
    flow: FlowRef
    free_form: FreeForm | None = None
    """What leaves in place of the template while the candidate's 24 hours are open; without it the template always."""
    expires: Duration | None = None
    """How long this send may wait before it is no longer worth sending; else the plan's ``step_expiry``."""

    @model_validator(mode="after")
    def _makes_sense(self) -> "Opening":
        refuse((*_prefilled_by(self.template, self.flow), *findings_of_free_form(self.free_form, with_flow=True)))
        return self


class AnswerRule(Written):
    """Matches an answer by one field, compared as text without case. Texts and buttons are ``text`` and ``payload``."""

    field: VariableName
    equals: JsonValue

    def matches(self, answers: dict[str, JsonValue]) -> bool:
        """Whether ``answers`` holds the field with this value."""
        return self.field in answers and _folded(answers[self.field]) == _folded(self.equals)

    def is_like(self, other: "AnswerRule") -> bool:
        """Whether both match the same answers."""
        return self.field == other.field and _folded(self.equals) == _folded(other.equals)

    @property
    def is_of_text(self) -> bool:
        """Whether it reads what the candidate wrote or tapped, and not what a flow collected."""
        return self.field in _OF_TEXTS


def _folded(value: JsonValue) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).strip().casefold()


class Signal(StrEnum):
    """Something that happens and can start a follow-up."""

    FLOW_STARTED = "flow-started"
    """The provider says that a flow of ours is under way."""
    DELIVERED = "delivered"
    """A message of ours arrived."""
    READ = "read"
    """A message of ours was read."""
    TEXT = "text"
    """The candidate wrote a text that means nothing else to the plan."""


class AtsRule(Written):
    """The tenant's system says that the application moved. Its other words end the engagement."""

    ats: Literal["moved"]


def _kind_of_signal(value: object) -> str:
    if isinstance(value, AtsRule) or (isinstance(value, dict) and "ats" in value):
        return "<ats>"
    return "<answer>" if isinstance(value, AnswerRule | dict) else "<event>"


On = Annotated[
    Annotated[Signal, Tag("<event>")] | Annotated[AnswerRule, Tag("<answer>")] | Annotated[AtsRule, Tag("<ats>")],
    Discriminator(_kind_of_signal),
]
"""What starts a follow-up: an event by its name, an answer by field and value, or a word of the tenant's system."""


class Condition(StrEnum):
    """What must still be so when a follow-up is due, and again when it leaves."""

    NOTHING_CAME = "nothing-came"
    """Neither a text nor an answer since our previous message, or since the signal."""
    FLOW_STARTED_NOT_FINISHED = "flow-started-not-finished"
    DELIVERED_NOT_READ = "delivered-not-read"
    """Our latest message arrived and was not read, as far as the provider tells."""


class FollowUp(Written):
    """A later message of ours. With a ``flow`` the candidate gets a new flow run, else only the template.

    Without ``on`` it is driven by time: the n-th of those leaves ``after`` the step before it. With ``on`` it leaves
    ``after`` the first such signal, once, whatever place it has in the list.
    """

    after: Duration | None = None
    """Counted from our previous step, or from the signal; with a signal it may be left out, which is at once."""
    on: On | None = None
    when: Condition | None = None
    template: TemplateRef
    flow: FlowRef | None = None
    free_form: FreeForm | None = None
    """What leaves in place of the template while the candidate's 24 hours are open; without it the template always."""
    expires: Duration | None = None
    """How long this send may wait before it is no longer worth sending; else the plan's ``step_expiry``."""

    @model_validator(mode="after")
    def _makes_sense(self) -> "FollowUp":
        refuse((*_prefilled_by(self.template, self.flow), *self._findings()))
        return self

    def _findings(self) -> Findings:
        if self.after is None and self.on is None:
            yield ("after",), "missing: say after what time it leaves, or on what signal"
        of_a_flow = isinstance(self.on, AnswerRule) and not self.on.is_of_text
        if of_a_flow and self.when is Condition.FLOW_STARTED_NOT_FINISHED:
            yield ("when",), "can never hold: the flow that brought the answer is finished"
        yield from findings_of_free_form(self.free_form, with_flow=self.flow is not None)

    @property
    def delay(self) -> timedelta:
        """``after``, or no time at all."""
        return self.after or timedelta(0)


class LastEnd(StrEnum):
    """What silence means where there is no other line to go to."""

    CLOSE = "close"
    HAND_OVER = "hand-over"


class SilenceEnd(StrEnum):
    """What happens when the last wait passes and the provider, asked, has nothing."""

    CLOSE = "close"
    HAND_OVER = "hand-over"
    FALLBACK_LINE = "fallback-line"
    """On another line, where it is known that nothing of ours arrived on this one; else ``otherwise``."""


class LastSilence(Written):
    """The last wait on the fallback line, and what it means when it passes."""

    after: Duration
    then: LastEnd = LastEnd.CLOSE


class FallbackLine(Written):
    """The line on which a candidate is tried whom nothing reached on the first: once, with a message of its own."""

    line: Slug
    """One of the tenant's, of any account and provider."""
    opening: Opening
    silence: LastSilence


class Silence(Written):
    """The last wait, counted from our last message, and what it means when it passes."""

    after: Duration
    then: SilenceEnd = SilenceEnd.CLOSE
    fallback: FallbackLine | None = None
    otherwise: LastEnd | None = None
    """With ``fallback-line``: what silence means where something arrived or may have; else ``close``."""

    @model_validator(mode="after")
    def _makes_sense(self) -> "Silence":
        refuse(self._findings())
        return self

    def _findings(self) -> Findings:
        if self.then is SilenceEnd.FALLBACK_LINE:
            if self.fallback is None:
                yield ("fallback",), "missing: say on which line it goes on, with its own opening and silence"
            return
        for name in ("fallback", "otherwise"):
            if getattr(self, name) is not None:
                yield (name,), "has no effect: only with then: fallback-line is another line gone to"

    @property
    def end(self) -> LastEnd:
        """What it means where no other line is gone to."""
        if self.then is SilenceEnd.FALLBACK_LINE:
            return self.otherwise or LastEnd.CLOSE
        return LastEnd(self.then.value)


class UnexpectedText(StrEnum):
    """What a free text outside the flow means."""

    KEEP_WAITING = "keep-waiting"
    HAND_OVER = "hand-over"
    ANSWER = "answer"


class WhenBusy(StrEnum):
    """What happens when the person has another engagement with the tenant that is not over."""

    PARALLEL = "parallel"
    """Both run, unless the provider has one live run per thread and both are on one line: then it is refused."""
    REFUSE = "refuse"
    QUEUE = "queue"
    """It waits for the other to end, as long as its opening is worth sending."""


class CategoryChange(StrEnum):
    """What happens when a provider moves a template to another category, which costs and reaches otherwise."""

    HOLD = "hold"
    GO_ON = "go-on"


FALLBACK: Place = ("silence", "fallback")
"""Where a plan says how it goes on on another line."""


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
    when_busy: WhenBusy = WhenBusy.PARALLEL
    """What happens when the person has another engagement with the tenant, for another job for example."""
    send_window: SendWindow | None = None
    """When messages may leave; without it at any time."""
    step_expiry: Duration = Field(default="7d", validate_default=True)
    """How long one send may wait for its template, its provider or its line before it is no longer worth sending."""
    longest: Duration = Field(default="60d", validate_default=True)
    """The whole engagement ends EXPIRED or by its silence rule no later than this after its start."""

    budget: Budget | None = None
    """The most that one engagement spends; without one only the steps of the plan limit it."""

    @model_validator(mode="after")
    def _makes_sense(self) -> "Plan":
        found = (*self._findings_of_waits(), *self._findings_of_signals(), *self._findings_of_window())
        refuse((*found, *findings_of_budget(self)))
        return self

    def _findings_of_waits(self) -> Findings:
        waits = sum((f.delay for f in self.follow_ups if f.on is None), start=self.silence.after)
        waits += self.fallback.silence.after if self.fallback is not None else timedelta(0)
        if waits > self.longest:
            text = (
                f"shorter than all waits: the plan cannot end by its own rules; make it {waits.days + 1}d or wait less"
            )
            yield ("longest",), text
        for n, follow_up in enumerate(self.follow_ups):
            if follow_up.on is not None and follow_up.delay >= self.longest:
                yield ("follow_ups", n, "after"), "can never be reached: the engagement is over by then (longest)"

    def _findings_of_window(self) -> Findings:
        """A message that may expire before its window opens, by the plan's expiry or by one of its own."""
        if self.send_window is None:
            return
        followed = [(("follow_ups", n, "expires"), f.expires) for n, f in enumerate(self.follow_ups)]
        expiries: list[tuple[Place, timedelta | None]] = [
            (("step_expiry",), self.step_expiry),
            (("opening", "expires"), self.opening.expires),
            *followed,
            ((*FALLBACK, "opening", "expires"), self.fallback.opening.expires if self.fallback is not None else None),
        ]
        for place, expiry in expiries:
            if expiry is not None:
                yield from ((place, text) for text in faults(self.send_window, expiry))

    def _findings_of_signals(self) -> Findings:
        for n, follow_up in enumerate(self.follow_ups):
            on, at = follow_up.on, ("follow_ups", n, "on")
            if isinstance(on, AnswerRule) and any(on.is_like(rule) for rule in self.declined_when):
                yield at, "can never be reached: declined_when takes this answer as a no, which ends the engagement"
            if on is Signal.TEXT and self.unexpected_text is not UnexpectedText.KEEP_WAITING:
                yield at, f"can never be reached: unexpected_text {self.unexpected_text} ends the engagement by a text"
            alone = len(self.follow_ups) == 1 or follow_up.after is None
            if on is Signal.READ and follow_up.when is Condition.DELIVERED_NOT_READ and alone:
                yield ("follow_ups", n, "when"), "can never hold: the message was read"

    def declines(self, answers: dict[str, JsonValue]) -> bool:
        """Whether these answers say no."""
        return any(rule.matches(answers) for rule in self.declined_when)

    def templates(self) -> tuple[TemplateRef, ...]:
        """Every template that the plan may send, in the order of its steps."""
        over = () if self.fallback is None else (self.fallback.opening.template,)
        return (self.opening.template, *(f.template for f in self.follow_ups), *over)

    @property
    def fallback(self) -> FallbackLine | None:
        """The line on which it may go on."""
        return self.silence.fallback

    def carried_on_by(self, fallback: FallbackLine) -> "Plan":
        """The plan as it goes on on the fallback line: its opening and its silence, and no follow-ups."""
        silence = Silence(after=fallback.silence.after, then=SilenceEnd(fallback.silence.then.value))
        return self.model_copy(update={"opening": fallback.opening, "follow_ups": (), "silence": silence})

    def free_forms(self) -> tuple[tuple[Place, FreeForm], ...]:
        """Every message that may leave without a template, with its place in the plan."""
        steps: list[tuple[Place, FreeForm | None]] = [(("opening",), self.opening.free_form)]
        steps += [(("follow_ups", n), follow_up.free_form) for n, follow_up in enumerate(self.follow_ups)]
        return tuple(((*at, "free_form"), free_form) for at, free_form in steps if free_form is not None)

    def variables(self) -> frozenset[str]:
        """Every candidate variable that some message needs."""
        of_templates = {name for template in self.templates() for name in template.variables}
        of_fallback = frozenset() if self.fallback is None else self.carried_on_by(self.fallback).variables()
        return of_fallback.union(of_templates, *(free_form.variables() for _, free_form in self.free_forms()))

    def timed(self) -> tuple[int, ...]:
        """Places in ``follow_ups``, from 1, of those that are driven by time."""
        return tuple(n for n, follow_up in enumerate(self.follow_ups, 1) if follow_up.on is None)


def findings_of_budget(plan: Plan) -> Findings:
    """A budget that the opening exceeds, prices that are missing, and follow-ups that can never be paid for."""
    budget = plan.budget
    if budget is None:
        return
    for at, text in budget.findings():
        yield ("budget", *at), text
    if budget.money is not None and budget.prices:
        missing = tuple(_missing_prices(plan, budget))
        yield from missing
        if not missing:
            yield from _findings_of_money(plan, budget)
    if budget.messages is not None:
        sent = 1
        for n in plan.timed():
            if sent >= budget.messages:
                text = f"can never be reached: the budget of {budget.messages} messages is spent by then"
                yield ("follow_ups", n - 1), text
            sent += plan.follow_ups[n - 1].when is None


def _missing_prices(plan: Plan, budget: Budget) -> Findings:
    ups: list[Place] = [("follow_ups", n, "template") for n in range(len(plan.follow_ups))]
    over: list[Place] = [] if plan.fallback is None else [(*FALLBACK, "opening", "template")]
    for place, template in zip((("opening", "template"), *ups, *over), plan.templates(), strict=True):
        if template.category is None:
            yield (*place, "category"), "missing: the budget in money needs the template's category for its price"
        elif all(price.category != template.category for price in budget.prices):
            yield (*place, "category"), f"budget.prices has no price for {template.category}"


def _findings_of_money(plan: Plan, budget: Budget) -> Findings:
    """By the countries of the table: the opening must be within the budget in each, a follow-up in some."""
    money = budget.money
    if money is None:
        return
    spent: dict[str, Decimal] = {}
    for country in budget.countries():
        price = _price(budget, plan.opening.template, country)
        if price is None:
            continue
        spent[country] = price if plan.opening.free_form is None else Decimal(0)
        if price > money:
            where = f"in {country}" if country else "elsewhere"
            yield ("budget", "money"), f"the opening alone costs {price} {where}: no follow-up could ever leave"
    for n in plan.timed():
        follow_up = plan.follow_ups[n - 1]
        costs = {country: _price(budget, follow_up.template, country) for country in spent}
        sums = {country: spent[country] + cost for country, cost in costs.items() if cost is not None}
        if sums and min(sums.values()) > money and min(spent.values()) <= money:
            yield ("follow_ups", n - 1), f"can never be reached: by then it costs {min(sums.values())}, over the budget"
        elif follow_up.when is None and follow_up.free_form is None:  # else it may cost nothing, or less
            spent |= sums


def _price(budget: Budget, template: TemplateRef, country: str) -> Decimal | None:
    return budget.price(template.category or "", country)
