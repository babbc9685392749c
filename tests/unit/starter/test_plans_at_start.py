"""What of a plan can be judged only when the line and the candidate's number are known."""

from decimal import Decimal

import pytest

from domain.engagements import Capabilities
from domain.plans import Plan
from providers.meta.client import CAPABILITIES as META
from providers.truora.client import CAPABILITIES as TRUORA
from starter.phones import country_of
from starter.requests import RequestCheck
from tests.unit.starter.world import CANDIDATE, NOW, PLAN, RECRUBO, TOPOLOGY, request

NUDGE = {"name": "nudge", "language": "en", "id": "tpl-2", "category": "UTILITY"}


def plan_with(**more: object) -> Plan:
    return Plan.model_validate({**PLAN.model_dump(exclude_defaults=True), **more})


def fields(plan: Plan, capabilities: Capabilities, phone: str = CANDIDATE.phone) -> list[str]:
    check = RequestCheck(TOPOLOGY, lambda _provider: capabilities, lambda _account: None)
    asked = request(plan=plan, candidate=CANDIDATE.model_copy(update={"phone": phone}))
    return [mistake.field for mistake in check.mistakes(asked, NOW)]


@pytest.mark.parametrize(
    ("cause", "deaf"),
    [
        ({"on": "flow-started"}, {"meta": "on"}),
        ({"on": "read"}, {"truora": "on"}),
        ({"on": "delivered"}, {"truora": "on"}),
        ({"on": "text", "when": "flow-started-not-finished"}, {"meta": "when"}),
        ({"after": "1d", "when": "delivered-not-read"}, {"truora": "when"}),
        ({"on": {"field": "a", "equals": 1}, "when": "nothing-came"}, {}),
    ],
)
def test_a_follow_up_that_waits_for_what_its_line_never_tells_is_refused(
    cause: dict[str, object], deaf: dict[str, str]
) -> None:
    plan = plan_with(follow_ups=({**cause, "template": NUDGE},))
    for name, capabilities in {"meta": META, "truora": TRUORA, "recrubo": RECRUBO}.items():
        expected = [f"plan.follow_ups.0.{deaf[name]}"] if name in deaf else []
        assert fields(plan, capabilities) == expected, name


def test_a_number_of_a_country_without_a_price_is_refused_before_anything_is_sent() -> None:
    prices = ({"category": "UTILITY", "country": "NL", "price": "0.05"},)
    budget = {"money": Decimal(1), "currency": "EUR", "prices": prices}
    opening = PLAN.opening.model_dump(exclude_defaults=True)
    opening["template"]["category"] = "UTILITY"
    plan = plan_with(opening=opening, budget=budget)
    assert fields(plan, RECRUBO) == []
    assert fields(plan, RECRUBO, "+573001234567") == ["candidate.phone"]


@pytest.mark.parametrize(
    ("phone", "country"),
    [
        ("+31612345678", "NL"),
        ("+34600123456", "ES"),
        ("+573001234567", "CO"),
        ("+14165550123", "CA"),
        ("+88161234567", ""),
    ],
)
def test_a_number_tells_its_country_where_it_has_one(phone: str, country: str) -> None:
    assert country_of(phone) == country
