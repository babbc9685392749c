"""Days and weeks of a calendar, where clocks are moved and where they are not."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.caps import Caps, day_of, week_of
from domain.topology import Line, Tenant

HOUR = timedelta(hours=1)
ZONES = st.sampled_from(["UTC", "Europe/Amsterdam", "America/Havana", "America/Sao_Paulo", "Australia/Lord_Howe"])
INSTANTS = st.integers(0, 20 * 365 * 24 * 60).map(
    lambda minutes: datetime(2012, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)


@settings(max_examples=200, deadline=None)
@given(ZONES.map(ZoneInfo), INSTANTS)
def test_a_day_begins_and_ends_where_the_date_on_the_wall_changes(zone: ZoneInfo, instant: datetime) -> None:
    day, second = day_of(zone, instant), timedelta(seconds=1)
    assert day.start <= instant < day.end
    assert day_of(zone, day.start) == day_of(zone, day.end - second) == day
    today = instant.astimezone(zone).date()
    assert (day.start - second).astimezone(zone).date() < today < day.end.astimezone(zone).date()


@settings(max_examples=100, deadline=None)
@given(ZONES.map(ZoneInfo), INSTANTS)
def test_a_week_is_seven_days_from_monday(zone: ZoneInfo, instant: datetime) -> None:
    week = week_of(zone, instant)
    assert week.start <= instant < week.end
    assert (week.start.astimezone(zone).weekday(), week.end.astimezone(zone).weekday()) == (0, 0)
    days, at = 0, week.start
    while at < week.end:
        days, at = days + 1, day_of(zone, at).end
    assert (days, at) == (7, week.end)


@pytest.mark.parametrize(("month", "hours"), [(3, 23), (10, 25)])
def test_the_day_when_clocks_are_moved_is_shorter_or_longer(month: int, hours: int) -> None:
    sunday = datetime(2026, month, 29 if month == 3 else 25, 12, tzinfo=UTC)
    day = day_of(ZoneInfo("Europe/Amsterdam"), sunday)
    assert day.end - day.start == hours * HOUR


@pytest.mark.parametrize("written", [{"candidate_per_day": 0}, {"zone": "here"}, {"candidate_per_month": 4}])
def test_what_no_cap_can_be_is_refused(written: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Caps.model_validate(written)


def test_a_tenant_has_no_caps_and_a_line_the_universal_clock_unless_the_configuration_says_so() -> None:
    assert Tenant(slug="acme").caps == Caps()
    assert Line(slug="nl-1", account="main", tenants=("acme",)).zone == "UTC"
    given = Tenant.model_validate({"slug": "acme", "caps": {"candidate_per_day": 2, "zone": "Europe/Madrid"}})
    assert (given.caps.candidate_per_day, given.caps.zone) == (2, "Europe/Madrid")
    with pytest.raises(ValidationError):
        Line(slug="nl-1", account="main", tenants=("acme",), zone="Amsterdam")
