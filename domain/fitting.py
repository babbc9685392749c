"""Whether a plan can be carried out on a line and for a candidate: asked when it begins, and when it moves."""

from collections.abc import Iterator, Mapping

from domain.budgets import Country
from domain.engagements import Capabilities
from domain.model import Findings, Place
from domain.plans import FALLBACK, Condition, FlowRef, Plan, Signal, TemplateRef


def misfits(plan: Plan, capabilities: Capabilities) -> Findings:
    """What this line's provider cannot do of the plan, by places within the plan."""
    yield from unnamed_flows(plan)
    yield from _unheard_signals(plan, capabilities)
    yield from _unsendable_free_forms(plan, capabilities)
    # a template that can be created is found by its name as well, since it has no id before
    if capabilities.reads_templates_by_id and not capabilities.can_create_templates:
        for place, template in _templates(plan):
            if not template.id:
                yield (*place, "id"), "missing: this provider knows templates by its own id"


def misfits_of_fallback(plan: Plan, capabilities: Capabilities | None) -> Findings:
    """What the fallback line's provider cannot do of what the plan says of that line; None: nobody knows which."""
    if plan.fallback is not None:
        there = plan.carried_on_by(plan.fallback)
        for place, text in unnamed_flows(there) if capabilities is None else misfits(there, capabilities):
            yield (*FALLBACK, *place), text


def unnamed_flows(plan: Plan) -> Findings:
    """Flows that are to be entered and have no id."""
    for place, flow in _flows(plan):
        if not flow.id:
            yield (*place, "id"), "missing: name the flow that the candidate enters"


def unpriced(plan: Plan, country: Country) -> tuple[str, ...]:
    """Categories of messages to this country that the plan's price table does not know."""
    budget = plan.budget
    if budget is None or budget.money is None:
        return ()
    categories = {template.category for template in plan.templates() if template.category}
    return tuple(sorted(c for c in categories if budget.price(c, country) is None))


def without_value(plan: Plan, variables: Mapping[str, str]) -> tuple[str, ...]:
    """Variables that some template of the plan needs and this candidate has no value for."""
    return tuple(name for name in sorted(plan.variables()) if not variables.get(name, "").strip())


def _unheard_signals(plan: Plan, capabilities: Capabilities) -> Findings:
    """Follow-ups that would wait for what this line's provider never tells."""
    starts = (Signal.FLOW_STARTED, Condition.FLOW_STARTED_NOT_FINISHED)
    arrivals = (Signal.DELIVERED, Signal.READ, Condition.DELIVERED_NOT_READ)
    silent: dict[Signal | Condition, str] = {}
    if not capabilities.tells_starts:
        silent |= dict.fromkeys(starts, "when a flow starts")
    if not capabilities.tells_arrivals:
        silent |= dict.fromkeys(arrivals, "what was delivered or read")
    for n, follow_up in enumerate(plan.follow_ups):
        for member, word in (("on", follow_up.on), ("when", follow_up.when)):
            if isinstance(word, Signal | Condition) and word in silent:
                yield (
                    ("follow_ups", n, member),
                    f"can never be reached: this line's provider does not tell {silent[word]}",
                )


def _unsendable_free_forms(plan: Plan, capabilities: Capabilities) -> Findings:
    """Messages without a template that this line's provider has no call for."""
    for place, free_form in plan.free_forms():
        if not capabilities.free_form_window:
            yield place, "this line's provider sends nothing without a template: leave it out"
        elif free_form.button and not capabilities.free_form_flows:
            yield place, "this line's provider starts a flow by a template alone: leave it out, or drop the step's flow"


def _templates(plan: Plan) -> Iterator[tuple[Place, TemplateRef]]:
    yield ("opening", "template"), plan.opening.template
    for n, follow_up in enumerate(plan.follow_ups):
        if follow_up.template is not None:
            yield ("follow_ups", n, "template"), follow_up.template


def _flows(plan: Plan) -> Iterator[tuple[Place, FlowRef]]:
    yield ("opening", "flow"), plan.opening.flow
    for n, follow_up in enumerate(plan.follow_ups):
        if follow_up.flow is not None:
            yield ("follow_ups", n, "flow"), follow_up.flow
