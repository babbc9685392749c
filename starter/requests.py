"""What must hold of a request before anything is started, and how two requests are compared."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from domain.engagements import Capabilities, EngagementRequest, FallbackRoute, Route, Timing
from domain.errors import BadInput, Mistake
from domain.fitting import misfits, misfits_of_fallback, unnamed_flows, unpriced, without_value
from domain.model import Findings
from domain.plans import FALLBACK, Plan
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
        here = (
            unnamed_flows(request.plan)
            if self._line(request) is None
            else misfits(request.plan, self.route(request).capabilities)
        )
        wrong = (*here, *self._fallback_findings(request))
        plan_mistakes = (Mistake(text, field=".".join(map(str, ("plan", *place)))) for place, text in wrong)
        return (*self._line_mistakes(request), *_candidate_mistakes(request, now), *plan_mistakes)

    def route(self, request: EngagementRequest) -> Route:
        """Where a request is carried. Raises ``BadInput`` for a line that is not the tenant's."""
        line = self._line(request)
        account = self._topology.account(line.account) if line is not None else None
        if line is None or account is None:
            raise BadInput(self._line_mistakes(request))
        capabilities = self._capabilities_of(account.provider)
        return Route(account=account.slug, line=line.slug, provider=account.provider, capabilities=capabilities)

    def fallback(self, request: EngagementRequest) -> FallbackRoute | None:
        """Where a request may go over to, as its plan says. Raises ``BadInput`` for a line that is not the tenant's."""
        planned = request.plan.fallback
        if planned is None:
            return None
        there = request.model_copy(update={"line": planned.line})
        return FallbackRoute(route=self.route(there), timing=self.timing(there))

    def _fallback_findings(self, request: EngagementRequest) -> Findings:
        planned = request.plan.fallback
        if planned is None or self._topology.tenant(request.tenant) is None:
            return
        there = request.model_copy(update={"line": planned.line})
        same = planned.line == request.line
        if same:
            yield (*FALLBACK, "line"), "is the line that the engagement begins on: name another one of the tenant's"
        for mistake in self._line_mistakes(there):
            yield (*FALLBACK, "line"), mistake.message
        known = self._line(there) is not None and not same
        yield from misfits_of_fallback(request.plan, self.route(there).capabilities if known else None)

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
    for name in without_value(request.plan, candidate.variables):
        near = did_you_mean(name, set(candidate.variables) - request.plan.variables())
        text = f"no value, but a template of plan {request.plan.name} needs it{near}"
        found.append(Mistake(text, field=f"candidate.variables.{name}"))
    return found


def _unpriced(plan: Plan, phone: str) -> list[Mistake]:
    """Messages to this number's country that the plan's price table does not know."""
    missing = unpriced(plan, country_of(phone))
    text = "the plan's price table has no price for the country of this number: {}; add one, or one without a country"
    return [Mistake(text.format(", ".join(missing)), field="candidate.phone")] if missing else []
