"""Where a candidate lives: as the profile says, else as the number tells, else as the line."""

from datetime import UTC, datetime

import pytest

from starter.zones import zone_of
from tests.unit.starter.world import CANDIDATE, World, request
from tests.unit.starter.world import NOW as START

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def test_the_profile_counts_most() -> None:
    assert zone_of("Asia/Kolkata", "+31612345678", "America/Bogota", NOW) == "Asia/Kolkata"


@pytest.mark.parametrize(
    ("phone", "zone"),
    [
        ("+31612345678", "Europe/Amsterdam"),
        ("+573001234567", "America/Bogota"),
        ("+5511987654321", "America/Sao_Paulo"),
        ("+12125550123", "America/New_York"),
    ],
)
def test_else_the_number_tells(phone: str, zone: str) -> None:
    assert zone_of("", phone, "Asia/Tokyo", NOW) == zone


def test_in_a_region_with_several_zones_it_is_the_lines_where_that_is_one_of_them() -> None:
    assert zone_of("", "+34612345678", "Atlantic/Canary", NOW) == "Atlantic/Canary"


def test_in_a_region_with_several_zones_and_another_line_it_is_one_in_the_middle() -> None:
    assert zone_of("", "+61412345678", "Europe/Amsterdam", NOW) == "Australia/Adelaide"
    assert zone_of("", "+61412345678", "Europe/Amsterdam", NOW) == zone_of("", "+61487654321", "UTC", NOW)


@pytest.mark.parametrize("phone", ["+80012345678", "+999123456789"])
def test_a_number_that_tells_nothing_leaves_it_to_the_line(phone: str) -> None:
    assert zone_of("", phone, "Europe/Lisbon", NOW) == "Europe/Lisbon"


@pytest.mark.server
@pytest.mark.parametrize(("profile", "zone"), [("Asia/Kolkata", "Asia/Kolkata"), ("", "Europe/Amsterdam")])
async def test_it_is_resolved_once_when_the_engagement_starts(world: World, ref: str, profile: str, zone: str) -> None:
    candidate = CANDIDATE.model_copy(update={"zone": profile})
    started = await world.service.start(request(ref, candidate=candidate), START)
    engagement = await world.stores.registry.input_of(started.workflow_id)
    assert engagement is not None
    assert engagement.zone == zone
