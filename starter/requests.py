"""What must hold of a request before anything is started, and how two requests are compared."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from domain.engagements import Capabilities, EngagementRequest, Route, Timing
from domain.errors import BadInput, Mistake
from domain.plans import Condition, FlowRef, Plan, Signal, TemplateRef
from domain.topology import Account, Line, Topology
from starter.mistakes import did_you_mean
from starter.phones import country_of, read_phone, spells_phone
from starter.zones import known_zone, zone_of

CLOCK_SKEW = timedelta(minutes=5)
"""How far a caller's clock may run before ours."""

CapabilitiesOf = Callable[[str], Capabilities]
"""What a provider, by name, can do. Raises ``SetupError`` for a provider that is not built in."""

ReconcileWaitOf = Callable[[Account], timedelta | None]
"""How long this account's events may take to settle a lost answer, where that is longer than our default."""


class Fingerprints(Protocol):
    """A keyed hash of text, so that input can be compared without being kept readable."""

    def fingerprint(self, text: str) -> str:
        """The same text always gives the same fingerprint."""
        ...


class RequestCheck:
    """Checks requests against the topology: every mistake at once."""

    def __init__(self, topology: Topology, capabilities_of: CapabilitiesOf, reconcile_wait_of: ReconcileWaitOf) -> None:
        self._topology = topology
        self._capabilities_of = capabilities_of
        self._reconcile_wait_of = reconcile_wait_of

    def mistakes(self, request: EngagementRequest, now: datetime) -> tuple[Mistake, ...]:
        """Everything that is wrong; nothing when the engagement may be started."""
        found = [*self._line_mistakes(request), *_candidate_mistakes(request, now), *_plan_mistakes(request.plan)]
        if self._line(request) is not None:
            found += _unheard_signals(request.plan, self.route(request).capabilities)
        if self._line(request) is not None and _needs_ids(self.route(request).capabilities):
            found += [
                Mistake("missing: this provider knows templates by its own id", field=f"{place}.id")
                for place, template in _templates(request.plan)
                if not template.id
            ]
        return tuple(found)

    def route(self, request: EngagementRequest) -> Route:
        """Where a request is carried. Raises ``BadInput`` for a line that is not the tenant's."""
        line = self._line(request)
        account = self._topology.account(line.account) if line is not None else None
        if line is None or account is None:
            raise BadInput(self._line_mistakes(request))
        capabilities = self._capabilities_of(account.provider)
        return Route(account=account.slug, line=line.slug, provider=account.provider, capabilities=capabilities)

    def zone(self, request: EngagementRequest, now: datetime) -> str:
        """The candidate's time zone, resolved once: by the profile, else by the number, else by the line."""
        line = self._line(request)
        return zone_of(request.candidate.zone, request.candidate.phone, line.zone if line else "UTC", now)

    def timing(self, request: EngagementRequest) -> Timing:
        """The caller's timing; where it does not say how long reconciliation may take, the account's provider does."""
        line = self._line(request)
        account = self._topology.account(line.account) if line is not None else None
        wait = self._reconcile_wait_of(account) if account is not None else None
        if wait is None or "reconcile_settle" in request.timing.model_fields_set:
            return request.timing
        return request.timing.model_copy(update={"reconcile_settle": wait})

    def _line(self, request: EngagementRequest) -> Line | None:
        line = self._topology.line(request.line)
        return line if line is not None and request.tenant in line.tenants else None

    def _line_mistakes(self, request: EngagementRequest) -> list[Mistake]:
        if self._topology.tenant(request.tenant) is None:
            hint = did_you_mean(request.tenant, (t.slug for t in self._topology.tenants))
            return [Mistake(f"no such tenant in the configuration{hint}", field="tenant")]
        if self._line(request) is None:
            mine = [line.slug for line in self._topology.lines if request.tenant in line.tenants]
            hint = did_you_mean(request.line, mine)
            return [Mistake(f"no such line, or not one of tenant {request.tenant}{hint}", field="line")]
        return []


def fingerprints_of(request: EngagementRequest, keys: Fingerprints) -> dict[str, str]:
    """A keyed fingerprint per field of what was asked for. Equal input gives equal fingerprints.

    Defaults are left out, so that a release that adds a field does not make old requests look different.
    """
    whole = request.model_dump(mode="json", exclude_defaults=True)
    parts = {
        **{name: whole.get(name) for name in ("line", "job", "plan", "timing")},
        **{f"candidate.{name}": whole["candidate"].get(name) for name in ("phone", "variables", "zone", "consent")},
    }
    return {
        name: keys.fingerprint(f"{name}={json.dumps(value, sort_keys=True, separators=(',', ':'))}")
        for name, value in parts.items()
    }


def _needs_ids(capabilities: Capabilities) -> bool:
    """A template that can be created is found by its name as well, since it has no id before."""
    return capabilities.reads_templates_by_id and not capabilities.can_create_templates


def _candidate_mistakes(request: EngagementRequest, now: datetime) -> list[Mistake]:
    candidate, found = request.candidate, []
    try:
        read_phone(candidate.phone)
    except ValueError as error:
        found.append(Mistake(str(error), field="candidate.phone"))
    if spells_phone(request.reference, candidate.phone):
        found.append(Mistake("is the candidate's phone number: use a key of your own", field="reference"))
    if candidate.consent is None:
        text = "no consent: a business may only write to people who agreed; give source and instant of the opt-in"
        found.append(Mistake(text, field="candidate.consent"))
    else:
        if not candidate.consent.source.strip():
            text = "no consent: say where the candidate agreed to be contacted"
            found.append(Mistake(text, field="candidate.consent.source"))
        if candidate.consent.obtained_at > now + CLOCK_SKEW:
            found.append(Mistake("lies in the future", field="candidate.consent.obtained_at"))
    if candidate.zone and not known_zone(candidate.zone):
        found.append(Mistake("not a time zone, as in Europe/Amsterdam", field="candidate.zone"))
    found += _unpriced(request.plan, candidate.phone)
    for name in sorted(request.plan.variables()):
        if not candidate.variables.get(name, "").strip():
            near = did_you_mean(name, set(candidate.variables) - request.plan.variables())
            text = f"no value, but a template of plan {request.plan.name} needs it{near}"
            found.append(Mistake(text, field=f"candidate.variables.{name}"))
    return found


def _plan_mistakes(plan: Plan) -> list[Mistake]:
    return [
        Mistake("missing: name the flow that the candidate enters", field=f"{place}.id")
        for place, flow in _flows(plan)
        if not flow.id
    ]


def _unheard_signals(plan: Plan, capabilities: Capabilities) -> list[Mistake]:
    """Follow-ups that would wait for what this line's provider never tells."""
    starts = (Signal.FLOW_STARTED, Condition.FLOW_STARTED_NOT_FINISHED)
    arrivals = (Signal.DELIVERED, Signal.READ, Condition.DELIVERED_NOT_READ)
    silent: dict[Signal | Condition, str] = {}
    if not capabilities.tells_starts:
        silent |= dict.fromkeys(starts, "when a flow starts")
    if not capabilities.tells_arrivals:
        silent |= dict.fromkeys(arrivals, "what was delivered or read")
    return [
        Mistake(
            f"can never be reached: this line's provider does not tell {silent[word]}", f"plan.follow_ups.{n}.{member}"
        )
        for n, follow_up in enumerate(plan.follow_ups)
        for member, word in (("on", follow_up.on), ("when", follow_up.when))
        if isinstance(word, Signal | Condition) and word in silent
    ]


def _unpriced(plan: Plan, phone: str) -> list[Mistake]:
    """Messages to this number's country that the plan's price table does not know."""
    budget = plan.budget
    if budget is None or budget.money is None:
        return []
    categories = {template.category for template in plan.templates() if template.category}
    missing = sorted(c for c in categories if budget.price(c, country_of(phone)) is None)
    text = "the plan's price table has no price for the country of this number: {}; add one, or one without a country"
    return [Mistake(text.format(", ".join(missing)), field="candidate.phone")] if missing else []


def _templates(plan: Plan) -> list[tuple[str, TemplateRef]]:
    ups = [(f"plan.follow_ups.{i}.template", up.template) for i, up in enumerate(plan.follow_ups)]
    return [("plan.opening.template", plan.opening.template), *ups]


def _flows(plan: Plan) -> list[tuple[str, FlowRef]]:
    ups = [(f"plan.follow_ups.{i}.flow", up.flow) for i, up in enumerate(plan.follow_ups) if up.flow is not None]
    return [("plan.opening.flow", plan.opening.flow), *ups]
